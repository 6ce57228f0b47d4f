"""Searching a collection by words: BM25 over PostgreSQL's own text vectors, whose matches an index finds.

PostgreSQL's ranking knows no rarity, and parses every match anew (0.3 ms each). So the index alone chooses: the points
whose words weigh most by their rarity, a few times k. Only these are parsed, and scored by how often they hold a word,
and how long they are. The first search by words makes the index, beside readers and writers; upkeep builds one anew
that was left half-made. Without it (nobody may make one, or it is being made) all texts are read, which is slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import log
from typing import Any, Final

import psycopg

from regen.ports import StoreHit
from regen.stores.pgvector_filters import Condition
from regen.stores.pgvector_upkeep import WORDS, index_name, indexes, word_index, words_of

_HIT: Final = "id, chunk_id, token, doc_id, text"
_LOOKED_UP: Final = 20_000
"""Points that the index is asked for, about, if fewer words than all of a query find as many: the rarest come first."""
_PARSED_BESIDE: Final = 50
"""Points that are parsed and scored beside the k best by the rarity of their words."""
_LONGEST_QUERY: Final = 100_000
_SATURATION: Final = 1.2
_LENGTH: Final = 0.75


def best_by_words(
    connection: psycopg.Connection[Any], collection: str, table: str, query: str, k: int, narrowed: Condition
) -> list[StoreHit]:
    """The k best points by BM25 that satisfy the condition, best first."""
    asked = query[:_LONGEST_QUERY].encode("utf-8", "ignore").decode().replace("\0", " ")
    statement = f"SELECT lexeme FROM unnest({words_of('%s')})"  # noqa: S608 - no value is in it
    lexemes = [row[0] for row in connection.execute(statement.encode(), [asked]).fetchall()]
    if not lexemes:
        return []
    indexed = _indexed(connection, collection, table)
    with connection.transaction():
        if indexed:  # the planner takes parsing for cheap, and reading all texts for as good as asking the index
            connection.execute(b"SET LOCAL enable_seqscan = off")
        return _ranked(connection, table, lexemes, k, narrowed, indexed=indexed)


def _ranked(
    connection: psycopg.Connection[Any], table: str, lexemes: list[str], k: int, narrowed: Condition, *, indexed: bool
) -> list[StoreHit]:
    holding, points = (_frequencies if indexed else _counted)(connection, table, lexemes)
    weights = {lexeme: log(1 + (points - held + 0.5) / (held + 0.5)) for lexeme, held in holding.items()}
    choosing = _choosing(holding, k) if indexed else list(holding)
    hits = _scored(connection, table, choosing, weights, k, narrowed, indexed=indexed)
    if len(hits) < k and len(choosing) < len(holding):  # the filter left too few of what the rare words chose
        hits = _scored(connection, table, list(holding), weights, k, narrowed, indexed=indexed)
    return hits


def _indexed(connection: psycopg.Connection[Any], collection: str, table: str) -> bool:
    """Whether there is an index of words; makes one when nobody has yet."""
    name = index_name(collection, "words")
    held = indexes(connection, table)
    if name not in held:
        # Who may only read is answered all the same, and so is who finds somebody's long transaction in the way.
        with suppress(
            psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable, psycopg.errors.DuplicateTable
        ):
            connection.execute(b"SET lock_timeout = '5s'")
            try:
                connection.execute(word_index(collection, table).encode())
            finally:
                connection.execute(b"RESET lock_timeout")
        held = indexes(connection, table)
    return held.get(name, False)


def _frequencies(connection: psycopg.Connection[Any], table: str, lexemes: list[str]) -> tuple[dict[str, int], int]:
    """How many points hold each of the words, without those that none holds, and how many points there are."""
    counted = f"(SELECT count(*) FROM {table} WHERE {WORDS} @@ asked.term::tsquery)"  # noqa: S608 - quoted
    statement = f"SELECT lexeme, {counted} FROM unnest(%s::text[], %s::text[]) AS asked(lexeme, term)"  # noqa: S608
    rows = connection.execute(statement.encode(), [lexemes, list(map(_term, lexemes))]).fetchall()
    estimate = connection.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table]).fetchone()
    holding = {lexeme: int(held) for lexeme, held in rows if held}
    return holding, max([*holding.values(), int(estimate[0]) if estimate else 0])


def _counted(connection: psycopg.Connection[Any], table: str, lexemes: list[str]) -> tuple[dict[str, int], int]:
    """The same by reading all texts once."""
    statement = (
        f"WITH held AS (SELECT {WORDS} AS words FROM {table}) "  # noqa: S608 - quoted
        "SELECT lexeme, count(*) FROM held, unnest(words) WHERE lexeme = ANY(%s) GROUP BY lexeme"
    )
    rows = connection.execute(statement.encode(), [lexemes]).fetchall()
    points = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - quoted
    assert points is not None
    return {lexeme: int(held) for lexeme, held in rows}, int(points[0])


def _choosing(holding: Mapping[str, int], k: int) -> list[str]:
    """The rarest words, as many as find enough candidates."""
    chosen: list[str] = []
    candidates = 0
    for lexeme, held in sorted(holding.items(), key=lambda item: item[1]):
        if chosen and candidates + held > max(_LOOKED_UP, 4 * k):
            break
        chosen.append(lexeme)
        candidates += held
    return chosen


def _scored(
    connection: psycopg.Connection[Any],
    table: str,
    choosing: list[str],
    weights: Mapping[str, float],
    k: int,
    narrowed: Condition,
    *,
    indexed: bool,
) -> list[StoreHit]:
    if not choosing:
        return []
    chosen, values = (_by_index if indexed else _by_reading)(table, choosing, weights, k, narrowed)
    share = f"sum(weight * times * {_SATURATION + 1} / (times + {_SATURATION} * ({1 - _LENGTH} + {_LENGTH} * size)))"
    statement = (
        f"WITH chosen AS MATERIALIZED ({chosen}), "  # noqa: S608 - quoted
        f"parsed AS MATERIALIZED (SELECT {_HIT}, {WORDS} AS words FROM chosen JOIN {table} USING (id)), "
        "sized AS (SELECT *, length(words) / avg(length(words)) OVER () AS size FROM parsed) "
        f"SELECT {_HIT}, (SELECT {share} FROM unnest(words) AS held "
        "JOIN unnest(%s::text[], %s::float8[]) AS asked(lexeme, weight) USING (lexeme), "
        "LATERAL (SELECT cardinality(held.positions)::float8) AS counted(times)) AS score FROM sized "
        "ORDER BY score DESC, id LIMIT %s"
    )
    rows = connection.execute(statement.encode(), [*values, list(weights), list(weights.values()), k]).fetchall()
    return [StoreHit(row[0], float(row[5]), *row[1:5]) for row in rows]


def _by_index(
    table: str, choosing: list[str], weights: Mapping[str, float], k: int, narrowed: Condition
) -> tuple[str, list[Any]]:
    """The statement, with its values, of the points whose words weigh most; the index is asked once for each word."""
    matching = f"SELECT id FROM {table} WHERE {WORDS} @@ term::tsquery AND {narrowed.text}"  # noqa: S608 - quoted
    statement = (
        f"SELECT id FROM unnest(%s::text[], %s::float8[]) AS word(term, weight), LATERAL ({matching}) AS held "  # noqa: S608
        "GROUP BY id ORDER BY sum(weight) DESC, id LIMIT %s"
    )
    terms, weighing = list(map(_term, choosing)), [weights[lexeme] for lexeme in choosing]
    return statement, [terms, weighing, *narrowed.values, k + _PARSED_BESIDE]


def _by_reading(
    table: str, choosing: list[str], _weights: Mapping[str, float], _k: int, narrowed: Condition
) -> tuple[str, list[Any]]:
    """The statement, with its value, of all points that hold one of the words."""
    statement = f"SELECT id FROM {table} WHERE {WORDS} @@ %s::tsquery AND {narrowed.text}"  # noqa: S608 - quoted
    return statement, [" | ".join(map(_term, choosing)), *narrowed.values]


def _term(lexeme: str) -> str:
    """A lexeme as a text query takes it, literally."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
