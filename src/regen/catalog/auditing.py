"""An auditor's statements: samples of documents and what a store may hold beside its placements."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Select, func, select

from regen.catalog import schema
from regen.catalog.database import Database
from regen.catalog.document_rows import decompress
from regen.core.chunks import ENTRY_BYTES, ID_BYTES
from regen.core.documents import Document
from regen.ports.auditing import DocumentFacts, Unnamed

_docs = schema.documents.c
_FACTS = select(
    _docs.doc_id, _docs.revision, _docs.deleted, _docs.access, func.coalesce(_docs.source_time, _docs.changed_at)
)
_PRIME: Final = 2**31 - 1  # a key below 2**32 times a factor below this stays within 63 bits


class Audits(Database):
    """Statements that read samples; they write nothing."""

    def facts(self, ids: Sequence[str]) -> dict[str, DocumentFacts]:
        """Those of the ids that the catalog has, deleted ones included."""
        return {found.doc_id: found for found in self._read(_FACTS.where(self.among(_docs.doc_id, ids)))}

    def newest(self, limit: int, *, deleted: bool = False) -> list[DocumentFacts]:
        """The documents that were changed, or deleted, last."""
        return self._read(_FACTS.where(_docs.deleted.is_(deleted)).order_by(_docs.revision.desc()).limit(limit))

    def sampled(self, limit: int, *, seed: int) -> list[DocumentFacts]:
        """Living documents in an order that the seed decides."""
        living = _FACTS.where(_docs.deleted.is_(False))
        return self._read(living.order_by(_shuffled(_docs.doc_key, seed)).limit(limit))

    def access_lists(self, limit: int, *, seed: int) -> list[DocumentFacts]:
        """The first living document of each distinct access list."""
        first = func.min(_docs.doc_key)
        chosen = (
            select(first)
            .where(_docs.access.is_not(None), _docs.deleted.is_(False))
            .group_by(_docs.access)
            .order_by(_shuffled(first, seed))
            .limit(limit)
        )
        with self.glancing() as connection:
            keys = [row[0] for row in connection.execute(chosen)]
        return self._read(_FACTS.where(self.among(_docs.doc_key, keys)).order_by(_docs.doc_key))

    def living(self, batch: int = 500) -> Iterator[list[Document]]:
        """All living documents whose text is kept, in pages by key; each page is of one moment."""
        contents, after = schema.contents.c, -1
        while True:
            statement = (
                select(_docs.doc_id, contents.data, _docs.metadata, _docs.access, _docs.version, _docs.doc_key)
                .join_from(schema.documents, schema.contents, contents.revision == _docs.text_revision)
                .where(_docs.deleted.is_(False), _docs.doc_key > after)
                .order_by(_docs.doc_key)
                .limit(batch)
            )
            with self.glancing() as connection:
                page = connection.execute(statement).all()
            if not page:
                return
            after, texts = page[-1][-1], decompress([row[1] for row in page])
            yield [
                Document(doc_id, text, orjson.loads(metadata), access and orjson.loads(access), version)
                for (doc_id, _, metadata, access, version, _), text in zip(page, texts, strict=True)
            ]

    def unnamed(self, generation: int) -> Unnamed:
        """Points queued to be deleted, and points that a write attempt has announced."""
        garbage, intents = schema.garbage.c, schema.intents.c
        queued = select(func.coalesce(func.sum(func.length(garbage.entries)), 0)).where(
            garbage.generation == generation
        )
        announced = select(func.coalesce(func.sum(func.length(intents.chunk_ids)), 0)).where(
            intents.generation == generation
        )
        with self.glancing() as connection:
            row = connection.execute(select(queued.scalar_subquery(), announced.scalar_subquery())).one()
        return Unnamed(int(row[0]) // ENTRY_BYTES, int(row[1]) // ID_BYTES)

    def _read(self, statement: Select[Any]) -> list[DocumentFacts]:
        with self.glancing() as connection:
            return [_facts(row) for row in connection.execute(statement)]


def _facts(row: Any) -> DocumentFacts:
    access = None if row[3] is None else tuple(orjson.loads(row[3]))
    return DocumentFacts(row[0], row[1], bool(row[2]), access, row[4])


def _shuffled(key: ColumnElement[Any], seed: int) -> ColumnElement[Any]:
    """An order of keys that looks like chance, the same on any database: a linear map modulo a prime."""
    draw = random.Random(seed)  # noqa: S311 - a sample, not a secret
    return (key * draw.randrange(1, _PRIME) + draw.randrange(_PRIME)) % _PRIME
