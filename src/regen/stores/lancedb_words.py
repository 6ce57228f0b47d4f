"""Searching a Lance table by words: BM25 over an inverted index of its texts.

The first search by words makes the index, so that nobody pays for one who does not search so; from then on upkeep
keeps it. Texts that it does not hold yet are read one by one beside it (0.04 ms each here, of 80 words), so a fresh
document is found at once, and so is one that an update rewrote.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from lancedb.index import FTS
from lancedb.query import LanceFtsQueryBuilder, MatchQuery
from lancedb.table import Table

from regen.ports import StoreHit
from regen.stores.lancedb_faults import retried
from regen.stores.lancedb_search import HIT_COLUMNS, hits_of
from regen.stores.lancedb_upkeep import index_of

_INDEX: Final = FTS(base_tokenizer="icu/split", language="English", stem=True, remove_stop_words=True)
"""ICU finds words in languages that write no spaces too, and its variant splits names as programs write them. English
endings are cut, and the very commonest English words left out, which does other languages little harm."""


def best_by_words(table: Table, query: str, k: int, condition: str | None) -> list[StoreHit]:
    """The k best points by BM25 that satisfy the condition, best first; makes the index when there is none."""
    asked = query.encode("utf-8", "ignore").decode()  # half a surrogate pair is in no text
    if not asked.strip():
        return []
    if index_of(table, "text") is None:  # without one LanceDB answers all the same, by words as they are written
        retried(lambda: table.create_index("text", config=_INDEX, replace=True))
    found = _run(table, asked, k, condition)
    return hits_of(found, found.column("_score").to_pylist())


def _run(table: Table, query: str, k: int, condition: str | None) -> pa.Table:
    words = MatchQuery(query, "text")  # type: ignore[call-arg]  # its annotations hide that the rest has defaults
    search = LanceFtsQueryBuilder(table, words).select([*HIT_COLUMNS, "_score"]).limit(k)
    if condition is not None:
        search = search.where(condition, prefilter=True)
    found: pa.Table = search.to_arrow()
    return found
