"""A worker's clock is compared with the catalog's, and an answer that took long is not taken for a wrong clock."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from regen.catalog.catalog import SqlCatalog
from regen.catalog.sqlite import open_catalog
from regen.engine.working import SKEW_SECONDS, HeartBeat, clock_skew
from regen.errors import ConfigError
from regen.index import Index


def test_what_is_known_of_another_clock() -> None:
    """Read between two readings of ours it may be right, however far those lie apart; else it differs at least so."""
    assert clock_skew(100.0, 150.0, 150.5) == clock_skew(100.0, 100.0, 150.0) == 0.0
    assert clock_skew(100.0, 170.0, 150.0) == 20.0
    assert clock_skew(100.0, 90.0, 150.0) == -10.0


@pytest.mark.parametrize(
    ("ahead", "told"), [(SKEW_SECONDS + 5, "10 s behind"), (-SKEW_SECONDS - 5, "10 s ahead of"), (0.0, None)]
)
def test_a_clock_that_differs(tmp_path: Path, ahead: float, told: str | None) -> None:
    """Its worker does not start, and says by how much; one that agrees does."""
    made = open_catalog("sqlite:///catalog.db", tmp_path)

    class Elsewhere(SqlCatalog):
        def clock(self) -> float:
            return time.time() + ahead

    catalog = Elsewhere(made._engine)
    with Index(embedder="hashing/32", catalog=catalog, store="memory://", root=tmp_path) as index:
        heart = HeartBeat(index._writer, "host:1:nonce", 30.0)
        if told is None:
            with heart.beating():
                assert [worker.pid for worker in index.workers()]
            return
        with pytest.raises(ConfigError, match=told):
            heart.beat()
