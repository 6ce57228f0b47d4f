"""The change log and the documents' current state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from sqlalchemy import Connection, bindparam, delete, func, select

from regen.catalog import schema
from regen.catalog.at_once import AtOnce
from regen.catalog.bulk import Adding, Editing
from regen.catalog.database import Database, allocate, rows
from regen.catalog.document_rows import decompress, document_row, write_rows
from regen.catalog.sets import among, listed
from regen.core.changes import Candidate, Outcome, State, classify, state_of
from regen.core.documents import Facets
from regen.core.results import ChangeRecord
from regen.errors import NotFound
from regen.ports.catalog import Known, LogOutcome, PastState

_docs, _letters = schema.documents.c, schema.dead_letters.c


class DocumentLog(Database):
    """Statements on ``documents``, ``changes`` and ``contents``."""

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """Those of the ids that the catalog has, deleted ones included."""
        with self.glancing() as connection:
            return {row[0]: Known._make(row[1:]) for row in _KNOWN.rows(connection, ids=ids)}

    def states(self, ids: Sequence[str]) -> dict[str, State]:
        """The facets of those of the ids that are alive."""
        with self.glancing() as connection:
            found = self._current(connection, ids)
        return {doc_id: state for doc_id, (_, state, _) in found.items() if state is not None}

    def stamps(self, ids: Sequence[str], source: str | None = None) -> dict[str, str]:
        """The stamps under which documents were last read, without those that their source could not deliver since."""
        with self.glancing() as connection:
            found = _STAMPS.rows(connection, ids=ids)
        return {doc_id: stamp for doc_id, stamp, its in found if source is None or its == source}

    def vanished(self, source: str, seen: bytearray) -> tuple[list[str], int]:
        """Ids of the source that are alive and unmarked, and how many are alive."""
        size = len(seen)
        missing: list[int] = []
        alive, after = 0, -1
        with self.reading() as connection:
            while page := _LIVING.rows(connection, source=source, after=after, limit=_KEYS_A_PAGE):
                alive, after = alive + len(page), page[-1][0]
                missing += [key for (key,) in page if key >= size or not seen[key]]
            gone = rows(connection, select(_docs.doc_id).where(self.among(_docs.doc_key, missing))) if missing else []
        return [row[0] for row in gone], alive

    def head(self) -> int:
        """The revision of the newest change."""
        with self.glancing() as connection:
            return _head(connection)

    def alive(self, source: str | None = None) -> int:
        """How many documents exist, of one source or of all."""
        mine = [] if source is None else [_docs.source == source]
        with self.glancing() as connection:
            return connection.execute(select(func.count()).where(_docs.deleted.is_(False), *mine)).scalar_one()

    def log(
        self,
        source: str,
        candidates: Sequence[Candidate],
        *,
        content_keys: Sequence[str],
        at: float,
        restored: bool = False,
    ) -> LogOutcome:
        """Append what really differs to the change log and bring ``documents`` up to date."""
        states = [candidate.state or state_of(candidate.document) for candidate in candidates]
        with self.writing("revision") as connection:
            old = self._current(connection, [candidate.document.id for candidate in candidates])
            outcomes: list[Outcome] = []
            keys: list[int] = []
            texts: list[int | None] = []
            fresh = [c for c in candidates if c.document.id not in old]
            next_key = allocate(connection, "doc_key", len(fresh)) if fresh else 0
            for candidate, state in zip(candidates, states, strict=True):
                key, before, text = old.get(candidate.document.id, (None, None, None))
                if key is None:
                    key, next_key = next_key, next_key + 1
                keys.append(key)
                texts.append(text if before and before.facets.content == state.facets.content else None)
                outcomes.append(classify(before, state, content_keys))
            changed = [i for i, outcome in enumerate(outcomes) if outcome != "unchanged"]
            first = allocate(connection, "revision", len(changed)) if changed else 0
            revisions = dict(zip(changed, range(first, first + len(changed)), strict=True))
            written = [
                document_row(
                    source, candidates[i], states[i], (keys[i], revisions.get(i), texts[i]), outcomes[i], at=at
                )
                for i in range(len(candidates))
            ]
            if restored:
                written = [row._replace(kind="restored", lane=1) for row in written]
            write_rows(connection, written, fresh={c.document.id for c in fresh}, candidates=candidates)
            return LogOutcome(outcomes, keys, first + len(changed) - 1 if changed else _head(connection))

    def tombstone(self, ids: Sequence[str], *, at: float) -> int:
        """Log the deletion of those of the ids that are alive."""
        with self.writing("revision") as connection:
            alive = rows(
                connection,
                select(_docs.doc_key)
                .where(self.among(_docs.doc_id, ids), _docs.deleted.is_(False))
                .order_by(_docs.doc_key),
            )
            if not alive:
                return 0
            first = allocate(connection, "revision", len(alive))
            gone = [(first + i, row[0]) for i, row in enumerate(alive)]
            letters = schema.dead_letters
            connection.execute(delete(letters).where(self.among(letters.c.doc_id, ids)))  # nothing is left to mend
            _TOMBSTONE.run(connection, [(revision, True, 1, None, None, None, at, key) for revision, key in gone])
            _LOG_DELETION.run(connection, [(revision, key, "deleted", "{}", at) for revision, key in gone])
            return len(gone)

    def restamp(self, stamps: Mapping[str, str]) -> None:
        """Remember new stamps of documents that turned out to be unchanged."""
        if stamps:
            with self.writing("revision") as connection:
                _RESTAMP.run(connection, [(value, key) for key, value in stamps.items()])

    def history(self, doc_id: str | None, limit: int) -> list[ChangeRecord]:
        """The newest changes first."""
        changes, contents = schema.changes.c, schema.contents.c
        statement = (
            select(changes.revision, _docs.doc_id, changes.kind, changes.changed_at, contents.revision)
            .join_from(schema.changes, schema.documents, changes.doc_key == _docs.doc_key)
            .join(schema.contents, contents.revision == changes.text_revision, isouter=True)
            .order_by(changes.revision.desc())
            .limit(limit)
        )
        if doc_id is not None:
            statement = statement.where(_docs.doc_id == doc_id)
        with self.glancing() as connection:
            return [
                ChangeRecord(revision, found, kind, at, held is not None)
                for revision, found, kind, at, held in rows(connection, statement)
            ]

    def past_state(self, doc_id: str, revision: int) -> PastState:
        """A document as it was at a revision: its newest change up to there."""
        changes, contents = schema.changes.c, schema.contents.c
        statement = (
            select(
                changes.kind,
                _docs.source,
                contents.data,
                changes.metadata,
                changes.access,
                changes.version,
                changes.revision,
            )
            .join_from(schema.changes, schema.documents, changes.doc_key == _docs.doc_key)
            .join(schema.contents, contents.revision == changes.text_revision, isouter=True)
            .where(_docs.doc_id == doc_id, changes.revision <= revision)
            .order_by(changes.revision.desc())
            .limit(1)
        )
        with self.glancing() as connection:
            found = connection.execute(statement).fetchone()
        if found is None or (found[2] is None and found[0] != "deleted"):
            raise NotFound(
                f"document {doc_id!r} is not kept as it was at revision {revision}",
                hint=f"`regen history {doc_id}` lists the revisions that can be restored",
            )
        text = None if found[2] is None else decompress([found[2]])[0]
        access = None if found[4] is None else orjson.loads(found[4])
        return PastState(doc_id, found[1], text, orjson.loads(found[3]), access, found[5])

    def _current(self, connection: Connection, ids: Sequence[str]) -> dict[str, tuple[int, State | None, int | None]]:
        """Key, state and text of those of the ids that the catalog has; the last two are None for a deleted one."""
        found: dict[str, tuple[int, State | None, int | None]] = {}
        for doc_id, key, deleted, content, meta_hash, acc_hash, meta, access, text in _STATES.rows(connection, ids=ids):
            state = State(Facets(content, meta_hash, acc_hash), meta.encode(), access and access.encode())
            found[doc_id] = (key, None, None) if deleted else (key, state, text)
        return found


_IDS = among(_docs.doc_id, listed("ids"))
_KNOWN = AtOnce(select(_docs.doc_id, _docs.doc_key, _docs.fingerprint, _docs.deleted, _docs.source).where(_IDS))
_STAMPS = AtOnce(
    select(_docs.doc_id, _docs.stamp, _docs.source)
    .where(_IDS, _docs.stamp.is_not(None), _docs.deleted.is_(False))
    .where(_docs.doc_id.not_in(select(_letters.doc_id).where(_letters.generation == 0)))
)
_KEYS_A_PAGE: Final = 50_000
_LIVING = AtOnce(
    select(_docs.doc_key)
    .where(_docs.source == bindparam("source"), _docs.deleted.is_(False), _docs.fingerprint.is_not(None))
    .where(_docs.doc_key > bindparam("after"))
    .order_by(_docs.doc_key)
    .limit(bindparam("limit"))
)
_STATES = AtOnce(
    select(
        _docs.doc_id, _docs.doc_key, _docs.deleted, _docs.content_hash, _docs.metadata_hash, _docs.access_hash,
        _docs.metadata, _docs.access, _docs.text_revision,
    ).where(_IDS)
)  # fmt: skip
_TOMBSTONE = Editing(
    schema.documents,
    ("revision", "deleted", "lane", "fingerprint", "stamp", "source_time", "changed_at", "doc_key"),
)
_LOG_DELETION = Adding(schema.changes, ("revision", "doc_key", "kind", "metadata", "changed_at"))
_RESTAMP = Editing(schema.documents, ("stamp", "doc_id"))


def purge_changes(connection: Connection, before: float) -> int:
    """Remove changes older than a time, except each document's current one."""
    current = select(_docs.revision)
    return connection.execute(
        delete(schema.changes).where(schema.changes.c.changed_at < before, schema.changes.c.revision.not_in(current))
    ).rowcount


def purge_contents(connection: Connection) -> int:
    """Remove texts that neither a document nor a kept change names."""
    logs, texts = schema.changes.c, schema.contents.c
    named = select(_docs.text_revision).where(_docs.text_revision.is_not(None), _docs.deleted.is_(False))
    logged = select(logs.text_revision).where(logs.text_revision.is_not(None))
    gone = texts.revision.not_in(named), texts.revision.not_in(logged)
    return connection.execute(delete(schema.contents).where(*gone)).rowcount


def _head(connection: Connection) -> int:
    return int(
        connection.execute(select(schema.counters.c.value).where(schema.counters.c.name == "revision")).scalar_one()
    )
