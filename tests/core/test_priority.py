"""Who belongs to which pass of a backfill, and to the slice that a pilot builds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import regen
from regen import Document
from regen.core.priority import Cut, Priority, belongs, cuts, in_slice, pilot_cut
from regen.errors import ConfigError
from regen.index import Index
from regen.ports.placements import Work

SHARES = (0.01, 0.05, 0.3, 0.5, 0.99)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", [200, 5_001])
def test_a_slice_is_as_large_as_its_share(share: float, count: int) -> None:
    """Of keys in a row the share is drawn, nearly exactly, wherever the row begins."""
    below = pilot_cut(share).below
    for first in (0, 1, 77_777):
        drawn = sum(in_slice(key, below) for key in range(first, first + count))
        assert drawn == pytest.approx(share * count, abs=3)


def test_a_slice_is_spread_evenly() -> None:
    """No stretch of keys is left out, nor taken whole: a folder's documents stand in a row."""
    drawn = [key for key in range(10_000) if in_slice(key, pilot_cut(0.05).below)]
    gaps = [after - before for before, after in pairwise(drawn)]
    assert max(gaps) <= 40
    assert min(gaps) >= 5


def test_a_larger_slice_contains_the_smaller_one() -> None:
    """What a pilot of 1 % has built is part of one of 5 %."""
    small, large = ({key for key in range(5_000) if in_slice(key, pilot_cut(share).below)} for share in (0.01, 0.05))
    assert small < large


@pytest.fixture
def index() -> Iterator[Index]:
    """Forty documents, of which some are queried and some are flagged."""
    with regen.Index(embedder="hashing/8", store="memory://", catalog="sqlite://", root=Path()) as made:
        made.upsert([Document(f"d{number}", f"text {number}") for number in range(40)])
        made._catalog.count_queries({f"d{number}": number for number in range(0, 40, 3)})
        made.flag([f"d{number}" for number in range(0, 40, 7)])
        made._catalog.demand_rewrite(1, [f"d{number}" for number in range(40)])
        yield made


def taken(index: Index, cut: Cut) -> set[str]:
    """The documents that the catalog gives for a pass."""
    works: list[Work] = index._catalog.behind(1, after=0, upto=99, lane=None, limit=99, max_bytes=10**9, cut=cut)
    return {work.doc_id for work in works}


@pytest.mark.parametrize("share", SHARES)
def test_the_catalog_draws_the_same_slice(index: Index, share: float) -> None:
    """SQL and Python agree on every document."""
    keys = {name: known.doc_key for name, known in index._catalog.known([f"d{number}" for number in range(40)]).items()}
    cut = pilot_cut(share)
    wanted = {name for name, key in keys.items() if belongs(cut, queries=0, changed_at=0.0, flagged=False, key=key)}
    assert taken(index, cut) == wanted
    assert len(wanted) == pytest.approx(40 * share, abs=2)


def test_the_catalog_takes_the_same_passes(index: Index) -> None:
    """SQL and Python agree on the tiers, which are disjoint and together everything."""
    known = index._catalog.known([f"d{number}" for number in range(40)])
    passes = cuts(Priority(recent_seconds=-1.0), min_queries=30, now=2e9)
    found = [taken(index, cut) for cut in passes]
    for cut, ids in zip(passes, found, strict=True):
        assert ids == {
            f"d{number}"
            for number in range(40)
            if belongs(
                cut,
                queries=number if number % 3 == 0 else 0,
                changed_at=0.0,
                flagged=number % 7 == 0,
                key=known[f"d{number}"].doc_key,
            )
        }
    assert found[0] == {"d30", "d33", "d36", "d39"}
    assert sum(map(len, found)) == len(set.union(*found)) == 40


def test_an_order_that_is_none() -> None:
    """An unknown tier, or one named twice, is refused with what is valid."""
    with pytest.raises(ConfigError, match="queried, recent, flagged, rest"):
        Priority(order=("queried", "queried"))
