"""Reading all documents of an index of Elasticsearch or OpenSearch: one point in time, a page after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from regen.errors import StoreError
from regen.stores.elastic_connection import KEEP_ALIVE, Connection, path_of
from regen.stores.elastic_dialect import Json, Refused

_EXPIRED: Final = "search_context_missing_exception"


def pages(connection: Connection, index: str, key: str, source: Json, size: int) -> Iterator[list[Any]]:
    """The hits of all documents in the order of ``key``, which tells them apart.

    A point in time that is lost, because nobody asked for a page in time or its node was started anew, is opened again,
    and the scan goes on after the last key, where that is a field; else it raises StoreError.
    """
    after: list[Any] | None = None
    snapshot = _opened(connection, index)
    try:
        while True:
            body: Json = {"size": size, "sort": [{key: "asc"}], "track_total_hits": False, **source}
            if after is not None:
                body["search_after"] = after
            try:
                hits, snapshot = _page(connection, index, snapshot, body)
            except StoreError as error:
                if not _is_expired(error) or key.startswith("_"):
                    raise
                snapshot = _opened(connection, index)
                continue
            if hits:
                yield hits
                after = hits[-1]["sort"]
            if len(hits) < size:
                return
    finally:
        method, path, ending = connection.dialect.close_snapshot(snapshot)
        with suppress(StoreError):  # it ends by itself
            connection.ask(index, method, path, ending)


def _opened(connection: Connection, index: str) -> str:
    method, path, params = connection.dialect.open_snapshot(path_of(index))
    return connection.dialect.snapshot_id(connection.ask(index, method, path, **params))


def _page(connection: Connection, index: str, snapshot: str, body: Json) -> tuple[list[Any], str]:
    """The hits, and the id under which the point in time goes on: it may change with every answer."""
    asked = body | {"pit": {"id": snapshot, "keep_alive": KEEP_ALIVE}}
    answer = connection.ask(index, "POST", "/_search", asked, allow_partial_search_results="false")
    return list(answer["hits"]["hits"]), str(answer.get("pit_id", snapshot))


def _is_expired(error: StoreError) -> bool:
    return isinstance(error.__cause__, Refused) and error.__cause__.kind == _EXPIRED
