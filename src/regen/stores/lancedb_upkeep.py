"""Upkeep of a Lance table: compaction, removal of old versions, and indexes, each only when it pays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from lancedb.index import BTree, HnswSq, IndexConfig
from lancedb.table import Table

from regen.errors import ConfigError
from regen.stores.lancedb_faults import retried
from regen.stores.lancedb_layout import Layout

os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")  # else each look at an index prints a warning
_KEEP: Final = timedelta(hours=1)
_KEEP_FORCED: Final = timedelta(minutes=15)
"""How long a version stays after another took its place. A scan holds the version it began with, so no scan may take
longer than this."""
_CLOCK_MARGIN: Final = timedelta(seconds=1)
_MANY_FRAGMENTS: Final = 32
_MANY_OLD_VERSIONS: Final = 64
_MUCH_DELETED: Final = 0.2
_MANY_SEGMENTS: Final = 8
_MANY_UNINDEXED_TEXTS: Final = 1_000
"""Texts that the index of words does not hold are read beside it: so many take 40 ms a search."""
_MANY_POINTS: Final = 100_000
"""Without an index all ids are read to find one: at a million points 0.2 s of the processor for an edit, or for each
thousand vectors that another generation takes over."""
_MANY_UNINDEXED_POINTS: Final = 20_000
_ONE_GRAPH: Final = 1_000_000
"""Up to so many points an index is one graph: of several, LanceDB builds all anew when points are added (ADR 0012)."""
_GRAPH_POINTS: Final = 100_000
"""Above that, points of each graph: several are built sooner, and searched longer."""
ALL_PARTITIONS: Final = 10_000
"""More than there are: each search walks every graph. Half of four found .84 of the ten nearest, all of them .99."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """``CollectionSpec.index``. The defaults hold recall@10 at 0.99 and more on clustered vectors.

    ``min_rows``: below this an exact scan is quick enough, and building costs more than it saves.
    Points that came after the index are scanned beside it. When they are a fifth of ``min_rows`` they become a segment
    of their own, which is cheap; above ``unindexed_share`` of all, or at eight segments, the index is built anew. An
    index of several graphs takes no segment: it is built anew when they are a twentieth of all.
    ``m``, ``ef_construction``: the graph's degree and build effort. ``ef``, ``refine``: how many candidates a search
    walks, and how many times k of them it scores again with the full vectors.
    """

    min_rows: int = 50_000
    unindexed_share: float = 0.2
    m: int = 20
    ef_construction: int = 300
    ef: int = 200
    refine: int = 4

    @classmethod
    def of(cls, index: Mapping[str, Any]) -> IndexSettings:
        """Read the settings. Raises ConfigError for a key or a value that is not valid."""
        valid = asdict(cls())
        for key, value in index.items():
            if key not in valid:
                raise ConfigError(f"unknown index setting {key!r}", hint=f"LanceDB knows {', '.join(sorted(valid))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ConfigError(f"index setting {key} is {value!r}", hint=f"a positive number; default {valid[key]}")
        return cls(**{key: value if key == "unindexed_share" else int(value) for key, value in index.items()})


def maintain(table: Table, layout: Layout, *, force: bool) -> list[str]:
    """Do what pays now, or with ``force`` everything but an index below ``min_rows``; say what was done.

    Each step is one commit of its own: killed between two, the table is whole and the next call goes on.
    """
    steps = _compact(table, force=force), _index(table, layout, force=force), _words(table, force=force), _ids(table)
    return [done for done in steps if done]


def _compact(table: Table, *, force: bool) -> str | None:
    versions = table.list_versions()
    held = {key: int(value) for key, value in versions[-1]["metadata"].items()}
    fragments, deleted = held["total_fragments"], held["total_deletion_file_rows"]
    old, removable_age = _superseded(versions, _KEEP_FORCED if force else _KEEP)
    scattered = fragments >= _MANY_FRAGMENTS or deleted > _MUCH_DELETED * (held["total_rows"] + deleted)
    if not (force or scattered or old >= _MANY_OLD_VERSIONS):
        return None
    retried(lambda: table.optimize(cleanup_older_than=removable_age))
    return f"compacted {fragments} fragments with {deleted} deleted points, removed {old} old versions"


def _superseded(versions: list[dict[str, Any]], keep: timedelta) -> tuple[int, timedelta]:
    """How many versions another one replaced more than ``keep`` ago, and the age above which a version is one of them.

    LanceDB removes by the time a version was *made*. A version made a week ago may have been the latest until a second
    ago, with readers on it, so the age must be that of the version that was the latest ``keep`` ago.
    """
    now = datetime.now().astimezone()
    ages = [now - version["timestamp"].astimezone() for version in versions]
    settled = [at for at, age in enumerate(ages) if age >= keep]
    oldest_kept = settled[-1] if settled else 0
    return oldest_kept, ages[oldest_kept] + _CLOCK_MARGIN


def _index(table: Table, layout: Layout, *, force: bool) -> str | None:
    settings, rows = IndexSettings.of(layout.index), table.count_rows()
    if rows < settings.min_rows or layout.precision == "binary":  # bits are compared faster than a graph is walked
        return None
    found = vector_index(table)
    if found is None:
        _build(table, layout, settings, rows)
        return f"built the vector index over {rows} points"
    unindexed = found.num_unindexed_rows or 0
    if unindexed > settings.unindexed_share * rows or (found.num_segments or 0) >= _MANY_SEGMENTS:
        _build(table, layout, settings, rows)
        return f"rebuilt the vector index over {rows} points, of which {unindexed} were not in it"
    many = settings.min_rows // 5 if rows <= _ONE_GRAPH else max(settings.min_rows // 5, rows // 20)
    if unindexed >= many or (force and unindexed):
        _optimize_indexes(table)
        return f"added {unindexed} points to the vector index"
    return None


def _words(table: Table, *, force: bool) -> str | None:
    """Keep the index of words, if somebody has searched by words: else there is none."""
    found = index_of(table, "text")
    unindexed = 0 if found is None else found.num_unindexed_rows or 0
    if not unindexed or (unindexed < _MANY_UNINDEXED_TEXTS and not force):
        return None
    _optimize_indexes(table)
    return f"added {unindexed} points to the index of words"


def _ids(table: Table) -> str | None:
    """Keep an index of ids, if there are so many that reading all of them takes longer than the rest of an edit."""
    found = index_of(table, "id")
    if found is None:
        rows = table.count_rows()
        if rows < _MANY_POINTS:
            return None
        retried(lambda: table.create_index("id", config=BTree(), replace=True))
        return f"built the index of ids over {rows} points"
    unindexed = found.num_unindexed_rows or 0
    if unindexed < _MANY_UNINDEXED_POINTS:
        return None
    _optimize_indexes(table)
    return f"added {unindexed} points to the index of ids"


def _optimize_indexes(table: Table) -> None:
    removable_age = _superseded(table.list_versions(), _KEEP)[1]  # optimize always removes; its default is too young
    retried(lambda: table.optimize(cleanup_older_than=removable_age))


def _build(table: Table, layout: Layout, settings: IndexSettings, rows: int) -> None:
    graph = HnswSq(
        distance_type=layout.metric,
        num_partitions=1 if rows <= _ONE_GRAPH else -(-rows // _GRAPH_POINTS),
        m=settings.m,
        ef_construction=settings.ef_construction,
    )
    retried(lambda: table.create_index("vector", config=graph, replace=True))


def vector_index(table: Table) -> IndexConfig | None:
    """What LanceDB says of the table's vector index; None when there is none."""
    return index_of(table, "vector")


def index_of(table: Table, column: str) -> IndexConfig | None:
    """What LanceDB says of the index of one column; None when there is none."""
    return next((index for index in table.list_indices() if list(index.columns) == [column]), None)
