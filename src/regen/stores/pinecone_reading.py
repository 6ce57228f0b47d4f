"""Reading a namespace in pages, and the requests for which Pinecone's client has no method that tells enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import numpy as np
from pinecone import Index
from pinecone.errors import ApiError, NotFoundError

from regen.errors import ConfigError, StoreError
from regen.ports import ForeignColumns, ForeignRows
from regen.stores.foreign_payloads import flat, text_key
from regen.stores.pinecone_connection import reason_of
from regen.stores.pinecone_freshness import lsn_of

_IDS_A_FETCH: Final = 100
"""They stand in the request's address."""
_IDS_A_DELETE: Final = 1000
_HITS_WITH_METADATA: Final = 1000
_ALIASES: Final = "/namespace-aliases"


def ids_in(index: Index, namespace: str, prefix: str = "") -> Iterator[str]:
    """All ids of a namespace that begin so, in Pinecone's order."""
    for page in index.list(prefix=prefix or None, limit=100, namespace=namespace):
        yield from (item.id for item in page.vectors if item.id is not None)


def fetched(index: Index, ids: Sequence[str], namespace: str) -> Iterator[Any]:
    """Those of the ids that exist, with values and metadata."""
    for start in range(0, len(ids), _IDS_A_FETCH):
        some = list(ids[start : start + _IDS_A_FETCH])
        yield from index.fetch(ids=some, namespace=namespace).vectors.values()


def delete(index: Index, namespace: str, ids: Sequence[str]) -> int | None:
    """Remove records; the number of the last write, which the client's own method does not tell."""
    lsn = None
    for start in range(0, len(ids), _IDS_A_DELETE):
        body = {"ids": list(ids[start : start + _IDS_A_DELETE]), "namespace": namespace}
        lsn = lsn_of(_http(index).post("/vectors/delete", json=body).headers)
    return lsn


def namespaces(index: Index) -> list[str]:
    """The names of all namespaces of an index."""
    return [one.name for page in index.list_namespaces(limit=100) for one in page.namespaces]


def has_namespace(index: Index, name: str) -> bool:
    """Whether a namespace of that name is there."""
    try:
        return bool(index.describe_namespace(name=name).name == name)  # an alias is answered with its target
    except NotFoundError:
        return False


def make_namespace(index: Index, name: str) -> None:
    """Make an empty namespace, if it is not there: an alias needs one to point at."""
    try:
        index.create_namespace(name=name)
    except ApiError as error:
        if error.status_code != 409 or not has_namespace(index, name):
            raise


def drop_namespace(index: Index, name: str) -> None:
    """Remove a namespace with all that is in it, if it is there."""
    try:
        index.delete_namespace(name=name)
    except NotFoundError:
        return


def best(index: Index, *, vector: list[float], k: int, namespace: str, where: Any) -> list[tuple[Any, float]]:
    """Metadata and score of the best records. Many are asked for by id first: an answer may have 4 MB at most."""
    if k <= _HITS_WITH_METADATA:
        try:
            return _asked(index, vector=vector, k=k, namespace=namespace, where=where, whole=True)
        except ApiError as error:
            if error.status_code != 400 or "size" not in str(error):
                raise
    scores = dict(_asked(index, vector=vector, k=k, namespace=namespace, where=where, whole=False))
    held = {one.id: one.metadata or {} for one in fetched(index, list(scores), namespace)}
    return [(held[one], score) for one, score in scores.items() if one in held]


def _asked(
    index: Index, *, vector: list[float], k: int, namespace: str, where: Any, whole: bool
) -> list[tuple[Any, float]]:
    found = index.query(
        vector=vector, top_k=k, namespace=namespace, filter=where, include_values=False, include_metadata=whole
    )
    return [(one.metadata or {} if whole else one.id, float(one.score)) for one in found.matches]


# ── aliases: the client has no method for them ──


def alias(index: Index, name: str) -> dict[str, Any] | None:
    """What Pinecone says of an alias, None when there is none, or the index has none at all."""
    try:
        return dict(_http(index).get(f"{_ALIASES}/{quote(name, safe='')}").json())
    except ApiError as error:
        if not _has_none(error):
            raise
        return None


def aliases_of(index: Index, namespace: str) -> list[str]:
    """The aliases that point at a namespace; none where an index has no aliases at all."""
    found: list[str] = []
    params: dict[str, Any] = {"target_namespace": namespace}
    while True:
        try:
            answer = _http(index).get(_ALIASES, params=params).json()
        except ApiError as error:
            if not _has_none(error):
                raise
            return found
        found += [one["name"] for one in answer.get("namespace_aliases") or ()]
        if not (token := (answer.get("pagination") or {}).get("next")):
            return found
        params["paginationToken"] = token


def point_alias(index: Index, name: str, namespace: str) -> None:
    """Make an alias, or point it elsewhere. Raises StoreError where the index has none, or the name is taken."""
    body = {"target_namespace": namespace}
    try:
        if alias(index, name) is None:
            _http(index).post(_ALIASES, json={"name": name, **body})
        else:
            _http(index).patch(f"{_ALIASES}/{quote(name, safe='')}", json=body)
    except ApiError as error:
        raise _alias_refused(error, name) from error


def drop_alias(index: Index, name: str) -> None:
    """Remove an alias, if it is there."""
    try:
        _http(index).delete(f"{_ALIASES}/{quote(name, safe='')}")
    except NotFoundError:
        return


def _alias_refused(error: ApiError, name: str) -> Exception:
    reason = reason_of(error)
    if reason == "NAME_IN_USE_BY_NAMESPACE":
        return StoreError(f"the alias {name!r} cannot be set: a namespace has that name", hint="choose another")
    if _has_none(error):
        return StoreError(
            f"this index of Pinecone has no namespace aliases: {error.status_code} {error.message}",
            hint="regen's own alias is the only one then; an application that asks Pinecone itself names the namespace",
        )
    return error


def _has_none(error: ApiError) -> bool:
    return error.status_code in {404, 405, 501} or reason_of(error) == "API_VERSION_TOO_OLD"


def _http(index: Index) -> Any:
    return index._http  # noqa: SLF001 - its connections, retries and errors; no public method makes these requests


# ── collections of others ──


def foreign_rows(index: Index, namespace: str, wanted: ForeignColumns, batch: int) -> Iterator[ForeignRows]:
    """All records of a namespace that regen did not make. Raises ConfigError when the text's key cannot be told."""
    if wanted.vector is not None:
        raise ConfigError(f"there is no vector {wanted.vector!r}", hint="a record of Pinecone has one, without a name")
    ids = list(ids_in(index, namespace))
    key: str | None = None
    for start in range(0, len(ids), batch):
        found = list(fetched(index, ids[start : start + batch], namespace))
        if not found:
            continue
        for one in found:
            if not one.values:
                raise StoreError(f"record {one.id!r} of {namespace} has no dense vector", hint="fill or remove it")
        payloads = [dict(one.metadata or {}) for one in found]
        key = key or text_key(payloads[0], wanted.text)
        named = [
            one.id if wanted.id is None else str(held.get(wanted.id, ""))
            for one, held in zip(found, payloads, strict=True)
        ]
        texts = [str(held.pop(key, None) or "") for held in payloads]
        vectors = np.array([list(one.values) for one in found], np.float32)
        yield ForeignRows(named, texts, [_whole(flat(held, wanted.metadata)) for held in payloads], vectors)


def _whole(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata with whole numbers as such: Pinecone gives every number back as a float."""
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in metadata.items()
    }
