"""Reading a Qdrant collection that regen did not make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
from qdrant_client import QdrantClient, models

from regen.errors import ConfigError, StoreError
from regen.ports import ForeignColumns, ForeignRows
from regen.stores.foreign_payloads import flat, text_key

_NESTED: Final = "metadata"
"""Where LangChain and others put what they know of a document."""


def foreign_rows(
    ask: Callable[[Any], Any],
    collection: str,
    info: models.CollectionInfo,
    wanted: ForeignColumns,
    batch: int,
) -> Iterator[ForeignRows]:
    """All points, a page at a time. ``ask`` sends a request.

    Raises ConfigError when the text's key or the vector cannot be told, StoreError for a point without a vector.
    """
    name = _vector_name(info, wanted.vector)
    offset: Any = None
    key: str | None = None
    while True:
        scroll = partial(QdrantClient.scroll, collection_name=collection, limit=batch, offset=offset)
        records, offset = ask(partial(scroll, with_payload=True, with_vectors=[name] if name else True))
        if records:
            key = key or text_key(records[0].payload or {}, wanted.text)
            yield _page(collection, records, name, key, wanted)
        if offset is None:
            return


def _vector_name(info: models.CollectionInfo, wanted: str | None) -> str:
    """The name of the vector to read, empty for the collection's only, unnamed one."""
    held = info.config.params.vectors
    names = list(held) if isinstance(held, dict) else [] if held is None else [""]
    if wanted is not None and wanted not in names:
        raise ConfigError(
            f"there is no vector {wanted!r}", hint=f"there are: {', '.join(filter(None, names)) or 'one'}"
        )
    if wanted is None and len(names) != 1:
        raise ConfigError(
            f"which vector is meant cannot be told from {', '.join(names) or 'none'}", hint="name it: --vector NAME"
        )
    return names[0] if wanted is None else wanted


def _page(collection: str, records: list[models.Record], name: str, key: str, wanted: ForeignColumns) -> ForeignRows:
    vectors = [record.vector.get(name) if isinstance(record.vector, dict) else record.vector for record in records]
    for record, vector in zip(records, vectors, strict=True):
        if vector is None:
            raise StoreError(f"point {record.id} of {collection} has no vector", hint="fill it, or remove the point")
    payloads = [dict(record.payload or {}) for record in records]
    ids = [
        str(record.id) if wanted.id is None else str(payload.get(wanted.id, ""))
        for record, payload in zip(records, payloads, strict=True)
    ]
    texts = [str(payload.pop(key, None) or "") for payload in payloads]
    return ForeignRows(
        ids,
        texts,
        [flat(payload, wanted.metadata, nested=_NESTED) for payload in payloads],
        np.array(vectors, np.float32).reshape(len(records), -1),
    )
