"""Reading an index of Elasticsearch or OpenSearch that regen did not make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from regen.errors import ConfigError, StoreError
from regen.ports import ForeignColumns, ForeignRows
from regen.stores.elastic_connection import Connection
from regen.stores.elastic_scan import pages
from regen.stores.foreign_payloads import flat, text_key

_NESTED: Final = "metadata"
"""Where LangChain and others put what they know of a document."""
_MOST_ROWS: Final = 1000


def foreign_rows(
    connection: Connection, index: str, vectors: Sequence[str], wanted: ForeignColumns, batch: int
) -> Iterator[ForeignRows]:
    """All documents, a page at a time. ``vectors`` are the index's fields that hold some.

    Raises ConfigError when the text's field or the vector's cannot be told, StoreError for a document without a vector.
    """
    name = _vector_name(vectors, wanted.vector)
    key: str | None = None
    source = connection.dialect.source(connection.info(), [])
    for hits in pages(connection, index, connection.dialect.tie_breaker, source, min(batch, _MOST_ROWS)):
        key = key or text_key(hits[0]["_source"], wanted.text)
        yield _page(index, hits, name, key, wanted)


def _vector_name(held: Sequence[str], wanted: str | None) -> str:
    if wanted is not None and wanted not in held:
        raise ConfigError(f"there is no vector {wanted!r}", hint=f"there are: {', '.join(held) or 'none'}")
    if wanted is None and len(held) != 1:
        raise ConfigError(
            f"which vector is meant cannot be told from {', '.join(held) or 'none'}", hint="name it: --vector NAME"
        )
    return held[0] if wanted is None else wanted


def _page(index: str, hits: Sequence[Any], name: str, key: str, wanted: ForeignColumns) -> ForeignRows:
    documents = [dict(hit["_source"]) for hit in hits]
    for hit, document in zip(hits, documents, strict=True):
        if document.get(name) is None:
            raise StoreError(
                f"document {hit['_id']} of {index} has no vector in its source",
                hint="fill it, or remove the document; a mapping whose _source excludes the vector cannot be adopted",
            )
    vectors = np.array([document.pop(name) for document in documents], np.float32)
    texts = [str(document.pop(key, None) or "") for document in documents]
    known = [flat(document, None, nested=_NESTED) for document in documents]
    ids = [_id_of(index, hit, held, wanted.id) for hit, held in zip(hits, known, strict=True)]
    metadata = [flat(held, wanted.metadata) for held in known]
    return ForeignRows(ids, texts, metadata, vectors.reshape(len(hits), -1))


def _id_of(index: str, hit: Any, held: Mapping[str, Any], wanted: str | None) -> str:
    if wanted is not None and held.get(wanted) is None:
        raise StoreError(
            f"document {hit['_id']} of {index} has no {wanted!r}",
            hint="leave --id away to take the documents' own ids, or fill it",
        )
    return str(hit["_id"] if wanted is None else held[wanted])
