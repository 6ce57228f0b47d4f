"""How a database answers the catalog's hot statements: a large catalog made by statements, and the plan of each call.

    with recorded(catalog) as seen:
        HOT["fence"](large)
    seen[0].full_scans          # of tables that grow with the corpus: none is wanted

The plan is asked for just before a statement runs, in the state that it meets; of statements that write, what asking
has done (PostgreSQL's EXPLAIN ANALYZE runs them) is taken back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import zstandard
from sqlalchemy import Engine, event, text

from regen.catalog.catalog import SqlCatalog
from regen.core.changes import candidate
from regen.core.chunks import pack, pack_keys, write_token
from regen.core.documents import Document
from regen.core.recipe import Embedding, Recipe
from regen.ports.placements import Lease, NewPlacement, Placement

GROWING: Final = ("documents", "contents", "placements", "chunk_texts", "changes")
"""Tables with a row or more a document."""
ALIAS: Final = "large"
BEHIND: Final = 200
"""So many of the newest documents are not placed yet."""
_FIRST, _SECOND = 1, 2
_TEXT: Final = b"A short text stands for all of them, since no statement reads what it says."


@dataclass(frozen=True, slots=True)
class Seen:
    """One statement as the database meant to run it."""

    statement: str
    plan: list[str]

    @property
    def rows_read(self) -> int:
        """How many rows of growing tables PostgreSQL's measured plan read, those that it passed over included."""
        rows, of_growing = 0, False
        for line in self.plan:
            if found := re.search(r"(?:Scan|Modify).*?\(actual time=\S+ rows=([\d.]+) loops=(\d+)", line):
                of_growing = any(re.search(rf" on {table}\b", line) for table in GROWING)
                rows += round(float(found[1]) * int(found[2])) if of_growing else 0
            elif of_growing and (passed := re.search(r"Rows Removed by \w+: (\d+)", line)):
                rows += int(passed[1])
        return rows

    @property
    def full_scans(self) -> list[str]:
        """Growing tables that the plan reads from end to end."""
        names = "|".join(GROWING)
        whole = re.compile(rf"Seq Scan on ({names})\b|^\W*SCAN ({names})\b")
        return [name for line in self.plan if (hit := whole.search(line)) for name in hit.groups() if name]


@dataclass(frozen=True, slots=True)
class Large:
    """A filled catalog, and what its hot calls need."""

    catalog: SqlCatalog
    lease: Lease
    count: int

    def ids(self, number: int, first: int = 0) -> list[str]:
        """Ids of documents spread over the corpus."""
        step = max(1, (self.count - BEHIND) // number)
        return [f"doc/{first + 1 + at * step}" for at in range(number)]


def fill(catalog: SqlCatalog, count: int, *, statistics: bool = True) -> Large:
    """Make a catalog of so many documents, one chunk each, by a statement a table; all but the newest are placed.

    A second generation is there, with nothing in it. Without ``statistics`` PostgreSQL knows as little of it as in the
    first minute after a load.
    """
    for _ in (_FIRST, _SECOND):
        catalog.create_generation(ALIAS, Recipe(Embedding("hashing/8", 8)), "plans", at=1.0)
    engine = catalog._write_engine  # noqa: SLF001 - no call of the port makes a million rows
    before = [] if statistics else [f"ALTER TABLE {table} SET (autovacuum_enabled = false)" for table in GROWING]
    after = ["ANALYZE"] if statistics else []
    for statement in [*before, *_filling(engine.dialect.name, count), *after]:
        with engine.begin() as connection:
            connection.execute(text(statement))
    catalog.go_live(ALIAS, _FIRST, at=1.0, reason="filled")
    catalog.advance(_FIRST, count - BEHIND)
    return Large(catalog, catalog.acquire("plans", "host:1:plans", at=0.0, seconds=1e12), count)


def _filling(dialect: str, count: int) -> list[str]:
    """The statements that make the rows, n from 1 on; the log keeps the last tenth of the changes."""
    packed = zstandard.ZstdCompressor().compress(_TEXT).hex()
    if dialect == "postgresql":
        numbers, kept, no = f"generate_series(1, {count}) AS n", f"decode('{packed}', 'hex')", "false"
        blob, eight = "decode(md5(({})::text), 'hex')", "int8send(({})::bigint)"
    else:
        rows = f"SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {count}"  # noqa: S608 - a number
        numbers, kept, no = f"(WITH RECURSIVE up(n) AS ({rows}) SELECT n FROM up)", f"X'{packed}'", "0"  # noqa: S608 - see above
        blob = eight = "CAST(printf('%016d', {}) AS BLOB)"
    hashed, placed = blob.format("n"), f"n <= {count - BEHIND}"
    tables: list[tuple[str, str, dict[str, str]]] = [
        ("documents", "true", {
            "doc_key": "n", "doc_id": "'doc/' || n", "source": "'files'", "revision": "n", "fingerprint": hashed,
            "content_hash": hashed, "metadata_hash": blob.format("n % 100"), "access_hash": blob.format("n % 10"),
            "metadata": """'{"lang": "en"}'""", "access": """CASE WHEN n % 10 = 0 THEN '["team:a"]' END""",
            "deleted": no, "lane": "1", "changed_at": "1.0", "text_revision": "n",
        }),
        ("contents", "true", {"revision": "n", "size": str(len(_TEXT)), "data": kept}),
        ("changes", f"n > {count - count // 10}", {
            "revision": "n", "doc_key": "n", "kind": "'added'", "metadata": "'{}'", "changed_at": "1.0",
            "text_revision": "n",
        }),
        ("placements", placed, {
            "generation": str(_FIRST), "doc_key": "n", "revision": "n", "input_hash": hashed, "payload_hash": hashed,
            "chunks": f"{hashed} || {eight.format('1')}", "text_keys": eight.format("n"), "applied_at": "1.0",
        }),
        ("chunk_texts", placed, {"generation": str(_FIRST), "text_key": "CAST(n AS BIGINT) * 7919", "doc_key": "n"}),
    ]  # fmt: skip
    filled = [
        f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {numbers} WHERE {chosen}"  # noqa: S608 - names of our own schema
        for table, chosen, values in tables
    ]
    return [*filled, f"UPDATE counters SET value = {count} WHERE name IN ('revision', 'doc_key')"]  # noqa: S608 - a number


def _swap(large: Large) -> None:
    """Commit a write for what is behind, with what it replaces."""
    works = _behind(large, large.count - BEHIND)[:50]
    token = large.catalog.begin_write(_FIRST, b"x" * 16 * len(works), large.lease, at=2.0, repaid=list(range(1, 50)))
    entry = pack([(b"x" * 16, write_token(token))])
    new = [
        NewPlacement(
            work.doc_key, work.revision, Placement(work.revision, b"i", b"p", entry, pack_keys([work.doc_key])), entry,
            (work.doc_key * 7919,), (work.doc_key,),
        )
        for work in works
    ]  # fmt: skip
    large.catalog.commit_write(_FIRST, token, new, large.lease, at=2.0)


def _behind(large: Large, after: int, generation: int = _FIRST, lane: int | None = None) -> list[Any]:
    return large.catalog.behind(generation, after=after, upto=large.count, lane=lane, limit=100, max_bytes=1 << 30)


def _edit(large: Large) -> None:
    """Log new texts of documents that are there."""
    edited = [candidate(Document(doc_id, f"edited {doc_id}", {"lang": "de"})) for doc_id in large.ids(20, 3)]
    large.catalog.log("files", edited, content_keys=(), at=3.0)


def _claim(large: Large) -> None:
    """What a worker asks for before it may embed: ranges laid out, one of them claimed, its texts reserved."""
    catalog = large.catalog
    catalog.lay_out(_SECOND, "whole", size=10, count=4)
    held = catalog.claim_range(_SECOND, "whole", "host:1:worker", at=5.0, seconds=1.0)
    assert held is not None
    catalog.reserve_texts(held, [7919 * key for key in range(1, 50)], at=5.0)
    catalog.abandon_writes(_SECOND, held, at=5.0)
    catalog.release(held)


def _collect(large: Large) -> None:
    """Read garbage and clear it."""
    large.catalog.clear_garbage([item.id for item in large.catalog.garbage(_FIRST)])


HOT: Final[dict[str, Callable[[Large], object]]] = {
    "route": lambda large: large.catalog.route(ALIAS),
    "fence": lambda large: large.catalog.fence(_FIRST, large.ids(10)),
    "known": lambda large: large.catalog.known(large.ids(50)),
    "states": lambda large: large.catalog.states(large.ids(50)),
    "stamps": lambda large: large.catalog.stamps(large.ids(50)),
    "behind, one that follows": lambda large: _behind(large, large.count - BEHIND),
    "behind, changed access first": lambda large: _behind(large, large.count - BEHIND, lane=0),
    "behind, one that is filled": lambda large: _behind(large, large.count // 2, _SECOND),
    "lay out and claim a range": _claim,
    "holders": lambda large: large.catalog.holders(_FIRST, [7919 * key for key in range(1, 50)]),
    "placed": lambda large: large.catalog.placed(_FIRST, large.ids(50)),
    "begin and commit a write": _swap,
    "garbage": _collect,
    "edit": _edit,
    "delete": lambda large: large.catalog.tombstone(large.ids(20, 5), at=4.0),
    "count queries": lambda large: large.catalog.count_queries(dict.fromkeys(large.ids(20), 1)),
    "history of one": lambda large: large.catalog.history(f"doc/{large.count - 7}", 10),
    "demand a rewrite": lambda large: large.catalog.demand_rewrite(_FIRST, large.ids(20, 7)),
}
"""The calls whose number grows with the work or with the searches. Others read all rows by design: a status counts."""


@contextmanager
def recorded(catalog: SqlCatalog, *, analyse: bool = False) -> Iterator[list[Seen]]:
    """Collect the statements that run meanwhile, with their plans; with ``analyse`` PostgreSQL measures them, too."""
    pool, seen = catalog._engine.pool, list[Seen]()  # noqa: SLF001 - it has several engines over one pool

    def before(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:  # noqa: ARG001 - SQLAlchemy's form
        if connection.engine.pool is pool and statement.split(None, 1)[0] in {
            "SELECT",
            "INSERT",
            "UPDATE",
            "DELETE",
            "WITH",
        }:
            first = parameters[0] if many else parameters
            seen.append(Seen(statement, _plan(connection, statement, first, analyse=analyse)))

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", before)


def _plan(connection: Any, statement: str, parameters: Any, *, analyse: bool) -> list[str]:
    raw = connection.connection.driver_connection
    cursor = raw.cursor()
    if connection.dialect.name != "postgresql":
        return [str(row[3]) for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    how = "ANALYZE, BUFFERS" if analyse else "COSTS"
    if raw.autocommit:  # of one statement that only reads
        return [row[0] for row in cursor.execute(f"EXPLAIN ({how}) {statement}", parameters)]
    cursor.execute("SAVEPOINT regen_plan")
    try:
        return [row[0] for row in cursor.execute(f"EXPLAIN ({how}) {statement}", parameters)]
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT regen_plan")
