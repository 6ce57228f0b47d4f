"""Measures of rankings under their standard names, computed by trec_eval's own code (through ir-measures).

A name is an identity: ``nDCG@10`` is written so in regen.yaml, in the catalog and in reports. Ties are broken as
trec_eval does: by score as a 32-bit float, then by document id, both descending.
"""

from __future__ import annotations

import difflib
import importlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np

from regen.errors import EvaluationError
from regen.evaluation.judged import JudgedCollection

Ranking: TypeAlias = Sequence[tuple[str, float]]
"""Document ids with scores, higher for better, each document once. The scores decide, not the positions."""

MEASURES: Final = ("nDCG", "R", "P", "RR", "AP", "Success", "Rprec", "Bpref", "infAP", "Judged")
"""The measures there are; all run from 0 to 1, and more is better (``Judged`` only tells how much is judged)."""
EXAMPLES: Final = ("nDCG@10", "R@100", "RR@10", "P@5", "AP", "RR", "Success@5", "nDCG(judged_only=True)@10")
FULL_DEPTH: Final = 1000
"""How deep a ranking is for a measure without a cutoff, as in TREC's runs."""
_WORDS: Final = {
    "recall": "R", "precision": "P", "mrr": "RR", "map": "AP", "ndcg": "nDCG", "hit": "Success", "hits": "Success",
    "hitrate": "Success", "rprecision": "Rprec", "faithful": "faithfulness", "uses": "source_use",
}  # fmt: skip
_FORM: Final = re.compile(r"(?P<family>[A-Za-z]+)(\([^()]*\))?(?:@(?P<cutoff>[0-9]{1,6}))?")
_PARAMETERS: Final = frozenset({"cutoff", "rel", "judged_only"})
_WITH_CUTOFF: Final = frozenset({"R", "P", "Success", "Judged"})
_WITHOUT_CUTOFF: Final = frozenset({"Rprec", "Bpref", "infAP"})


def rank_documents(hits: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Documents by their best chunk, from hits ``(document id, score)`` of chunks: so that two chunkers compare.

    Best first, ties as trec_eval breaks them. Raises EvaluationError for a score that is not a number.
    """
    best: dict[str, float] = {}
    for document, score in hits:
        if document not in best or score > best[document] or math.isnan(score):
            best[document] = score
    return in_order(list(best.items()))


def in_order(ranking: Ranking) -> list[tuple[str, float]]:
    """A ranking as trec_eval reads it: by (score as a 32-bit float, document id), both descending.

    Raises EvaluationError for a document that occurs twice and a score that is not a number.
    """
    if len({document for document, _ in ranking}) != len(ranking):
        raise EvaluationError(
            "A ranking names a document twice. Valid: each document once.",
            hint="Chunk hits become documents by rank_documents.",
        )
    # C's `float`: scores that differ only beyond it are ties for trec_eval, and so they are here.
    with np.errstate(over="ignore"):
        scores = np.asarray([score for _, score in ranking], dtype=np.float64).astype(np.float32).tolist()
    if any(math.isnan(score) for score in scores):
        lost = next(document for (document, _), score in zip(ranking, scores, strict=True) if math.isnan(score))
        raise EvaluationError(f"The score of document {lost!r} is not a number. Valid: finite numbers.")
    order = sorted(zip(scores, (document for document, _ in ranking), range(len(ranking)), strict=True), reverse=True)
    return [ranking[position] for _, _, position in order]


def measure(
    collection: JudgedCollection, rankings: Mapping[str, Ranking], measures: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Measure name → judged query id → value, for every judged query, in the collection's order.

    A judged query that has no ranking, or an empty one, scores 0. Rankings of unjudged queries are passed over, those
    of queries that the collection does not have are an EvaluationError, as are unknown measures.
    """
    parsed = {name: _parse(name) for name in measures}
    _check_queries(collection, rankings)
    judged = [query.id for query in collection.judged]
    if not parsed:
        return {}
    # Ranks stand in for the scores, so that every provider behind ir-measures sees the one order, and no ties.
    run = {query: _ranks(rankings[query]) for query in judged if rankings.get(query)}
    qrels = {query: dict(collection.qrels[query]) for query in judged}
    values: dict[str, dict[str, float]] = {name: dict.fromkeys(judged, 0.0) for name in parsed}
    names = {measure: name for name, measure in parsed.items()}
    if run:
        for metric in _library().providers.FallbackProvider(_providers()).evaluator(list(names), qrels).iter_calc(run):
            values[names[metric.measure]][metric.query_id] = float(metric.value)
    return values


def means(values: Mapping[str, Mapping[str, float]], queries: Iterable[str] | None = None) -> dict[str, float]:
    """The mean of each measure over these queries (default: all that were measured); 0 over no queries."""
    chosen = None if queries is None else list(queries)
    found = {}
    for name, by_query in values.items():
        held = list(by_query.values()) if chosen is None else [by_query[query] for query in chosen]
        found[name] = math.fsum(held) / len(held) if held else 0.0
    return found


def check_measures(measures: Iterable[str]) -> None:
    """Raise EvaluationError for the first name that is no measure, with what is near it and what is valid."""
    for name in measures:
        _parse(name)


def depth_needed(measures: Iterable[str]) -> int:
    """How many documents a ranking must hold for these measures to be exact: the largest cutoff.

    A measure without a cutoff (``AP``, ``RR``, ``nDCG``) reads 1,000 documents, as TREC's runs have; so does one with
    ``judged_only``, which passes over unjudged documents. 0 for no measures. Raises EvaluationError for unknown ones.
    """
    return max((_depth(_parse(name)) for name in measures), default=0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Whether each query's evidence is in the first ``k`` documents, 1.0 or 0.0 by query id; no model is asked.

    ``any`` asks for one relevant document, ``all`` for every one (where there are more than ``k``: for ``k`` of them).
    Only queries that have a relevant document are counted.
    """

    k: int
    any: Mapping[str, float]
    all: Mapping[str, float]

    @property
    def any_share(self) -> float:
        """The share of queries with a relevant document in the first ``k``; 0 when there are no queries."""
        return math.fsum(self.any.values()) / max(1, len(self.any))

    @property
    def all_share(self) -> float:
        """The share of queries with all their relevant documents in the first ``k``; 0 when there are no queries."""
        return math.fsum(self.all.values()) / max(1, len(self.all))


def evidence_kept(collection: JudgedCollection, rankings: Mapping[str, Ranking], k: int) -> Evidence:
    """Does the context of ``k`` documents still hold the evidence? A query without a ranking has kept none."""
    if k < 1:
        raise EvaluationError(f"evidence is looked for in the first {k} documents. Valid: at least 1.")
    _check_queries(collection, rankings)
    some: dict[str, float] = {}
    every: dict[str, float] = {}
    for query in collection.judged:
        relevant = collection.relevant(query.id)
        if not relevant:
            continue
        top = {document for document, _ in in_order(rankings.get(query.id, ()))[:k]}
        found = len(relevant & top)
        some[query.id] = float(found > 0)
        every[query.id] = float(found == min(k, len(relevant)))
    return Evidence(k, some, every)


def _ranks(ranking: Ranking) -> dict[str, float]:
    ordered = in_order(ranking)
    return {document: float(len(ordered) - rank) for rank, (document, _) in enumerate(ordered)}


def _check_queries(collection: JudgedCollection, rankings: Mapping[str, Ranking]) -> None:
    unknown = rankings.keys() - {query.id for query in collection.queries}
    if unknown:
        raise EvaluationError(
            f"{collection.name}: {len(unknown)} rankings are of queries that the collection does not have, such as "
            f"{min(unknown)!r}. Valid: the ids of its queries."
        )


def _library() -> Any:
    """ir-measures, loaded on first use: it brings a compiled library that `import regen` must not load."""
    return importlib.import_module("ir_measures")


def _providers() -> list[Any]:
    """trec_eval's code, and what it lacks (Judged, RR with a cutoff); never what else happens to be installed."""
    library = _library()
    return [library.pytrec_eval, library.judged, library.msmarco]


def _depth(measure: Any) -> int:
    if measure.params.get("judged_only") or "cutoff" not in measure.params:
        return FULL_DEPTH
    return int(measure.params["cutoff"])


def _parse(name: str) -> Any:
    """The measure of that name. A cutoff of 0 must not get through: trec_eval's code ends the process on it."""
    form = _FORM.fullmatch(name)
    if form is None or form["family"] not in MEASURES:
        _refuse(name, "is no measure that regen knows")
    if form["cutoff"] is not None and int(form["cutoff"]) == 0:
        _refuse(name, "has a cutoff of 0")
    try:
        parsed = _library().parse_measure(name)
        supported = any(provider.supports(parsed) for provider in _providers())
    except (ValueError, NameError, AssertionError, SyntaxError, TypeError):
        supported = False
    if not supported:
        _refuse(name, "cannot be computed: its cutoff or another parameter is missing, wrong, or one too many")
    if parsed.params.keys() - _PARAMETERS or min(parsed.params.get(key, 1) for key in ("rel", "cutoff")) < 1:
        _refuse(name, "has other parameters than cutoff, rel (1 or more) and judged_only")
    if repr(parsed) != name:
        _refuse(name, "is not written as it should be", near=repr(parsed))
    return parsed


def _refuse(name: str, found: str, *, near: str | None = None) -> NoReturn:
    """Raise EvaluationError with the nearest valid name."""
    near = near or _near(name)
    raise EvaluationError(
        f"The measure {name!r} {found}. Valid: {', '.join(EXAMPLES)}; of {', '.join(MEASURES)}.",
        hint=f"Is {near} meant?" if near else "The names are those of ir-measures: https://ir-measur.es/",
    )


def _near(name: str) -> str | None:
    word, mark, cutoff = re.sub(r"\([^()]*\)", "", name).strip().replace("_", "@").partition("@")
    found = _WORDS.get(word.replace("-", "").casefold())
    if found is None:
        spelt = {known.casefold(): known for known in MEASURES}
        close = difflib.get_close_matches(word.casefold(), spelt, n=1, cutoff=0.6)
        found = spelt[close[0]] if close else None
    if found is None:
        return None
    if mark and cutoff.isdecimal() and int(cutoff) > 0 and found not in _WITHOUT_CUTOFF:
        return f"{found}@{int(cutoff)}"
    return f"{found}@10" if found in _WITH_CUTOFF or found == "nDCG" else found
