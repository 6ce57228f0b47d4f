"""Queries as Elasticsearch and OpenSearch understand them: those that are known here are answered, all others refused.

Searches by a vector are exact, and scored as the products' references say, in floats of 32 bits. A number field knows
0.0 and -0.0 apart, as there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.testing.elastic_fields import Json, Mapped, ServerError, illegal, words_of
from regen.testing.elastic_index import Index, Snapshot, Stored

Test: TypeAlias = Callable[[Stored], bool]
Found: TypeAlias = list[tuple[Stored, float]]
"""Documents with their scores, the best first."""

_MOST_TERMS: Final = 65_536
_MOST_CLAUSES: Final = 1024
_WINDOW: Final = 10_000
_PLACE: Final = "_shard_doc"
_RANGES: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": lambda one, other: one > other,
    "gte": lambda one, other: one >= other,
    "lt": lambda one, other: one < other,
    "lte": lambda one, other: one <= other,
}
_SECTIONS: Final = {
    "query", "size", "from", "sort", "search_after", "pit", "_source", "track_total_hits", "track_scores", "timeout",
}  # fmt: skip
_KNN: Final = {
    "field", "query_vector", "k", "num_candidates", "filter", "similarity", "boost", "rescore_vector",
}  # fmt: skip


def searched(index: Index, snapshot: Snapshot, body: Json) -> Found:
    """What a search finds, all of it, in order. Raises ServerError for a body that the product refuses."""
    known = _SECTIONS | ({"knn"} if index.product == "elasticsearch" else set())
    if unknown := body.keys() - known:
        raise ServerError(400, "parsing_exception", f"Unknown key for a START_OBJECT in [{min(unknown)}].")
    size = body.get("size", 10)
    if size + body.get("from", 0) > _WINDOW:
        raise illegal(f"Result window is too large, from + size must be less than or equal to: [{_WINDOW}]")
    query = body.get("query")
    if "knn" in body:
        if query is not None:
            raise NotImplementedError("a knn section beside a query")
        found = _knn_section(index, snapshot, body["knn"])
    elif isinstance(query, Mapping) and "knn" in query:
        found = _knn_query(index, snapshot, query["knn"])
    else:
        asked = body.get("query", {"match_all": {}})
        test = tested(index, asked)
        found = _weighed(snapshot, asked, [one for one in snapshot.documents.values() if test(one)])
    return _sorted(index, snapshot, found, body)


def tested(index: Index, query: Json) -> Test:
    """Whether a document satisfies a query. Raises ServerError for one that is not understood."""
    if len(query) != 1:
        raise ServerError(
            400, "parsing_exception", "[bool] malformed query, expected [END_OBJECT] but found [FIELD_NAME]"
        )
    ((clause, asked),) = query.items()
    readers: dict[str, Callable[[Index, Any], Test]] = {
        "match_all": lambda _index, _asked: lambda _document: True,
        "bool": _bool,
        "term": _term,
        "terms": _terms,
        "range": _range,
        "exists": _exists,
        "ids": _ids,
        "match": _match,
    }
    if clause not in readers:
        raise ServerError(400, "parsing_exception", f"unknown query [{clause}]")
    return readers[clause](index, asked)


def _bool(index: Index, asked: Json) -> Test:
    if unknown := asked.keys() - {"must", "filter", "should", "must_not", "minimum_should_match", "boost"}:
        raise ServerError(400, "parsing_exception", f"[bool] query does not support [{min(unknown)}]")
    parts = {
        occur: [tested(index, one) for one in _listed(asked.get(occur, []))]
        for occur in ("must", "filter", "should", "must_not")
    }
    every, none, some = parts["must"] + parts["filter"], parts["must_not"], parts["should"]
    least = int(asked.get("minimum_should_match", 0 if every else 1)) if some else 0
    return lambda document: (
        all(test(document) for test in every)
        and not any(test(document) for test in none)
        and (not least or sum(test(document) for test in some) >= least)
    )


def _term(index: Index, asked: Json) -> Test:
    ((name, value),) = asked.items()
    wanted = value["value"] if isinstance(value, Mapping) else value
    return _one_of(index, name, [wanted])


def _terms(index: Index, asked: Json) -> Test:
    ((name, values),) = ((name, values) for name, values in asked.items() if name != "boost")
    if not isinstance(values, list):
        raise ServerError(400, "parsing_exception", "[terms] query requires an array of terms")
    if len(values) > _MOST_TERMS:
        raise illegal(f"The number of terms [{len(values)}] used in the Terms Query request has exceeded the allowed")
    return _one_of(index, name, values)


def _one_of(index: Index, name: str, values: Iterable[Any]) -> Test:
    mapped = index.fields.get(name)
    if mapped is None:
        return lambda _document: False
    if mapped.is_vector:
        raise ServerError(400, "query_shard_exception", f"Field [{name}] of type [{mapped.type}] doesn't support term")
    wanted = {_bits(term) for value in values for term in _query_terms(mapped, value)}
    return lambda document: any(_bits(term) in wanted for term in document.terms.get(name, ()))


def _query_terms(mapped: Mapped, value: Any) -> list[Any]:
    return [str(value)] if mapped.type == "keyword" else mapped.terms(value)


def _bits(term: Any) -> Any:
    return struct.pack("<d", term) if isinstance(term, float) else term


def _range(index: Index, asked: Json) -> Test:
    ((name, bounds),) = asked.items()
    if unknown := bounds.keys() - {*_RANGES, "boost", "format", "relation"}:
        raise ServerError(400, "parsing_exception", f"[range] query does not support [{min(unknown)}]")
    mapped = index.fields.get(name)
    if mapped is None:
        return lambda _document: False
    if mapped.type not in {"keyword", "double", "long"}:
        raise ServerError(
            400, "query_shard_exception", f"Field [{name}] of type [{mapped.type}] does not support ranges"
        )
    limits = [
        (_RANGES[way], _comparable(term))
        for way, value in bounds.items()
        if way in _RANGES
        for term in _query_terms(mapped, value)
    ]
    return lambda document: any(
        all(holds(_comparable(term), limit) for holds, limit in limits) for term in document.terms.get(name, ())
    )


def _comparable(term: Any) -> Any:
    return term.encode() if isinstance(term, str) else (term, not str(term).startswith("-"))


def _exists(_index: Index, asked: Json) -> Test:
    name = asked["field"]
    return lambda document: bool(document.terms.get(name)) or name in document.vectors


def _ids(_index: Index, asked: Json) -> Test:
    wanted = set(asked["values"])
    return lambda document: document.id in wanted


# ── vectors ──


def _knn_section(index: Index, snapshot: Snapshot, asked: Json) -> Found:
    if unknown := asked.keys() - _KNN:
        raise ServerError(400, "parsing_exception", f"[knn] unknown field [{min(unknown)}]")
    k, candidates = asked["k"], asked["num_candidates"]
    if k < 1 or candidates < k or candidates > _WINDOW:
        raise illegal(f"[num_candidates] must be from [k] to [{_WINDOW}], here [{candidates}] for [{k}]")
    tests = [tested(index, one) for one in _listed(asked.get("filter", []))]
    return _nearest(index, snapshot, asked["field"], asked["query_vector"], k, tests)


def _knn_query(index: Index, snapshot: Snapshot, asked: Json) -> Found:
    if index.product == "elasticsearch":
        raise ServerError(400, "parsing_exception", "unknown query [knn] of this form")
    ((name, knn),) = asked.items()
    if unknown := knn.keys() - {"vector", "k", "filter", "method_parameters", "boost", "rescore", "min_score"}:
        raise ServerError(400, "parsing_exception", f"[knn] query does not support [{min(unknown)}]")
    if not 1 <= knn["k"] <= _WINDOW:
        raise illegal(f"[knn] requires k to be in the range (0, {_WINDOW}]")
    tests = [tested(index, knn["filter"])] if "filter" in knn else []
    return _nearest(index, snapshot, name, knn["vector"], knn["k"], tests)


def _nearest(index: Index, snapshot: Snapshot, name: str, query: Any, k: int, tests: list[Test]) -> Found:
    mapped = index.fields.get(name)
    if mapped is None or not mapped.is_vector:
        raise ServerError(400, "query_shard_exception", f"failed to create query: field [{name}] holds no vectors")
    if len(query) != mapped.dimensions:
        raise ServerError(
            400,
            "query_shard_exception",
            f"failed to create query: the query vector has a different dimension [{len(query)}] than the index vectors "
            f"[{mapped.dimensions}]",
        )
    asked = np.array(query, np.float64).astype(np.float32)
    mapped.check_length(asked)
    documents, vectors = snapshot.matrix(name)
    if not documents:
        return []
    passing = [at for at, document in enumerate(documents) if all(test(document) for test in tests)]
    scores = scored(mapped.similarity, vectors[passing], asked)
    best = np.argsort(-scores, kind="stable")[:k]
    return [(documents[passing[at]], float(scores[at])) for at in best]


def scored(similarity: str, vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ``_score`` of vectors of shape (n, dimensions): positive, and the higher the better."""
    with np.errstate(over="ignore", invalid="ignore"):
        if similarity == "l2":
            return np.asarray(1 / (1 + np.square(vectors - query).sum(axis=1)), np.float32)
        inner = np.asarray(vectors @ query, np.float32)
        if similarity == "inner":
            return np.where(inner < 0, 1 / (1 - np.minimum(inner, 0)), inner + 1).astype(np.float32)
        if similarity == "cosine":
            inner = inner / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
        return np.asarray((1 + inner) / 2, np.float32)


# ── words ──


def _match(index: Index, asked: Json) -> Test:
    name, words = _asked_words(asked)
    if index.fields[name].type != "text":
        raise NotImplementedError("a match of another field than a text")
    if len(words) > _MOST_CLAUSES:
        raise ServerError(400, "too_many_clauses", f"maxClauseCount is set to {_MOST_CLAUSES}")
    return lambda document: not words.isdisjoint(document.terms.get(name, ()))


def _asked_words(asked: Json) -> tuple[str, set[str]]:
    ((name, value),) = asked.items()
    return name, set(words_of(value["query"] if isinstance(value, Mapping) else value))


def _weighed(snapshot: Snapshot, query: Json, found: list[Stored]) -> Found:
    """Documents by how many rare words they hold, if words were asked for: about what BM25 makes of them."""
    matches = [one["match"] for one in _listed(query.get("bool", {}).get("must", query)) if "match" in one]
    if not matches:
        return [(document, 1.0) for document in found]
    scores = np.zeros(len(found))
    for name, words in map(_asked_words, matches):
        for word in words:
            holding = sum(word in one.terms.get(name, ()) for one in snapshot.documents.values())
            rarity = np.log(1 + (len(snapshot.documents) - holding + 0.5) / (holding + 0.5))
            times = np.array([one.terms.get(name, []).count(word) for one in found], float)
            scores += rarity * times / (times + 1)
    return [(found[at], float(scores[at])) for at in np.argsort(-scores, kind="stable")]


# ── order ──


def _sorted(index: Index, snapshot: Snapshot, found: Found, body: Json) -> Found:
    if "sort" not in body:
        if "search_after" in body:
            raise illegal("Sort must contain at least one field.")
        return found
    (key,) = sort_keys(body)
    if key not in {_PLACE, "_id"}:
        mapped = index.fields.get(key)
        if mapped is None:
            raise ServerError(400, "query_shard_exception", f"No mapping found for [{key}] in order to sort on")
        if mapped.type not in {"keyword", "double", "long", "boolean"}:
            raise illegal(f"Fielddata is disabled on [{key}] in [{index.name}]")
    if key == "_id" and index.product == "elasticsearch":
        raise illegal("Fielddata access on the _id field is disallowed, you can re-enable it by updating the dynamic")
    if key == _PLACE and "pit" not in body:
        raise illegal("[_shard_doc] sort field cannot be used without [point in time]")
    order = sort_order(body, snapshot)
    ordered = sorted(found, key=lambda pair: order(pair[0]))
    after = body.get("search_after")
    return ordered if after is None else [one for one in ordered if order(one[0]) > after]


def sort_keys(body: Json) -> list[str]:
    """The fields that a search sorts by, ascending, which is all that is understood here."""
    return [one if isinstance(one, str) else next(iter(one)) for one in body.get("sort", [])]


def sort_order(body: Json, snapshot: Snapshot) -> Callable[[Stored], list[Any]]:
    """What a document is sorted by. A point in time of Elasticsearch adds a last key that tells all apart."""
    (key,) = sort_keys(body)
    places = {name: at for at, name in enumerate(snapshot.documents)} if "pit" in body else {}

    def order(document: Stored) -> list[Any]:
        if key == _PLACE:
            return [places[document.id]]
        own = document.id if key == "_id" else document.terms.get(key, [""])[0]
        return [own, places[document.id]] if snapshot.ties and places else [own]

    return order


def _listed(one: Any) -> list[Any]:
    return one if isinstance(one, list) else [one]
