"""What regen knows of its collections, in a namespace of its own in each index: Pinecone keeps no notes about any.

One record for the collection and one for each filterable key, so that two writers that add keys at once do not
overwrite each other. A namespace that is not in it is not regen's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import orjson
from pinecone import Index

from regen.ports import CollectionSpec, FieldKind
from regen.stores.pinecone_connection import Connection, IndexInfo
from regen.stores.pinecone_freshness import Write, new_stamp, wait_until_seen
from regen.stores.pinecone_layout import WRITE, Layout, key_of
from regen.stores.pinecone_reading import delete, fetched, ids_in
from regen.stores.records import Record

REGISTER: Final = "regen_collections"


class Register:
    """The registers of all indexes of a URL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def names(self, info: IndexInfo) -> list[str]:
        """The collections in an index."""
        return [one[:-1] for one in self._ids(info, "") if one.endswith("#")]

    def read(self, info: IndexInfo, collection: str) -> Layout | None:
        """What the register of an index says of a collection, None when nothing."""
        ids = self._ids(info, f"{collection}#")
        ask = partial(fetched, ids=ids, namespace=REGISTER)
        notes = [one.metadata or {} for one in self._connection.call(info, collection, lambda index: list(ask(index)))]
        own = next((orjson.loads(note["note"]) for note in notes if "key" not in note), None)
        fields = {note["key"]: note["note"] for note in notes if "key" in note}
        return None if own is None else Layout(**own, fields=fields)

    def add(self, info: IndexInfo, collection: str, spec: CollectionSpec) -> None:
        """Write down a collection."""
        own = {"dimensions": spec.dimensions, "metric": spec.metric, "precision": spec.precision}
        note = {"id": f"{collection}#", "metadata": {"note": orjson.dumps(own).decode()}}
        self._write(info, collection, [note, *_fields(collection, spec.fields)])

    def add_fields(self, info: IndexInfo, collection: str, fields: Mapping[str, FieldKind]) -> None:
        """Write down filterable keys."""
        self._write(info, collection, _fields(collection, fields))

    def remove(self, info: IndexInfo, collection: str) -> None:
        """Forget a collection."""
        ids = self._ids(info, f"{collection}#")
        ids.sort(key=lambda one: one.endswith("#"))  # the collection itself last: what is left can be found again
        self._connection.call(info, collection, lambda index: self._removed(index, info, ids))

    def _removed(self, index: Index, info: IndexInfo, ids: Sequence[str]) -> None:
        lsn = delete(index, REGISTER, ids)
        wait_until_seen(index, Write(REGISTER, info.dimensions, ids, lsn), self._connection.address.timeout)

    def _write(self, info: IndexInfo, collection: str, notes: Iterable[Record]) -> None:
        stamp, unit = new_stamp(), [1.0] + [0.0] * (info.dimensions - 1)
        vectors: list[Any] = [
            {"id": note["id"], "values": unit, "metadata": note["metadata"] | {WRITE: stamp}} for note in notes
        ]

        def write(index: Index) -> None:
            answer = index.upsert(vectors=vectors, namespace=REGISTER)
            lsn = answer.response_info.lsn_committed if answer.response_info else None
            ids = [one["id"] for one in vectors]
            wait_until_seen(index, Write(REGISTER, info.dimensions, ids, lsn, stamp), self._connection.address.timeout)

        self._connection.call(info, collection, write)

    def _ids(self, info: IndexInfo, prefix: str) -> list[str]:
        return self._connection.call(info, prefix or "*", lambda index: list(ids_in(index, REGISTER, prefix)))


def _fields(collection: str, fields: Mapping[str, FieldKind]) -> Iterator[Record]:
    for key, kind in fields.items():
        yield {"id": f"{collection}#{key_of(key)}", "metadata": {"key": key, "note": kind}}
