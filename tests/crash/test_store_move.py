"""SIGKILL at every step of a move to another store and back (I5, I7, I8): both stores are as if nobody had died."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.crash.conftest import Nursery
from tests.crash.test_switch import NAMED, OFTEN, PHASES, Script, kill_everywhere

OTHERS = {"other.fetch", "other.drop", "other.insert", "other.delete"}
"""What is done in the store that regen.yaml does not name (any more)."""


def moments(nursery: Nursery, tmp_path: Path, seed: int) -> dict[str, float]:
    """The moments of a move that nothing interrupts, with how probably to die at each of them when it comes."""
    clean = Script(nursery, tmp_path / "clean", seed, "stores")
    assert clean.live({}) is None
    counts: dict[str, int] = json.loads((clean.root / "trace").read_text())
    assert counts["build: before other.fetch"] >= 1
    assert counts["build: before store.create"] >= 1
    assert "build: before other.insert" not in counts
    assert counts["promote: after catalog.switch"] == counts["rollback: after catalog.switch"] == 1
    assert counts["retire: before other.drop"] == 1
    return {
        moment: 1.0 if count <= OFTEN else 0.3
        for moment, count in counts.items()
        if moment.partition(":")[0] in PHASES and moment.split()[-1] in NAMED | OTHERS
    }


def test_killed_at_every_step_of_a_move(nursery: Nursery, tmp_path: Path) -> None:
    """Whatever step dies, one complete generation is live, none has missed an edit, each store holds its own only."""
    assert kill_everywhere(nursery, tmp_path, 30, moments(nursery, tmp_path, 3), "stores") >= 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_every_step_of_many_moves(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    """The same in other histories."""
    chosen = moments(nursery, tmp_path, 2000 + 100 * seed)
    assert kill_everywhere(nursery, tmp_path, 2010 + 100 * seed, chosen, "stores") >= 20
