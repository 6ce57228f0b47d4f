"""SIGKILL at every step of create, build, promote, rollback, retire and gc (I5, I7, I8): the next process goes on."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
from tests.crash.conftest import Nursery

PHASES = ("build", "promote", "rollback", "forward", "retire", "gc")
OFTEN = 2
"""A moment that comes more often than this within a life is met at a random one of its comings."""
NAMED = {
    "catalog.create_generation", "catalog.keep_probes", "catalog.mark_ready", "catalog.switch", "catalog.retire",
    "catalog.begin_write", "catalog.commit_write", "catalog.advance", "catalog.clear_garbage", "catalog.purge",
    "catalog.record_run", "catalog.acquire", "catalog.release", "store.create", "store.insert", "store.drop",
    "embedder.embed_documents",
}  # fmt: skip
"""The steps that change something; a normal run is killed at these, ``make test-all`` at every call of a port."""


class Script:
    """One script in one folder, and the lives spent on it."""

    def __init__(self, nursery: Nursery, root: Path, seed: int, name: str = "recipes", url: str = "") -> None:
        root.mkdir()
        self.url = url
        self.nursery, self.root, self.seed, self.name, self.lives = nursery, root, seed, name, 0

    @property
    def finished(self) -> bool:
        """Whether a life has come to the end and found everything in order."""
        return (self.root / "finished").exists()

    def live(self, pending: dict[str, float], kill_after: float | None = None) -> str | None:
        """One life more. Where it was killed: a moment, "" for any instant, None when it came to the end."""
        killed = self.root / "killed"
        killed.unlink(missing_ok=True)
        about = {
            "root": self.root, "seed": self.seed, "number": self.lives, "script": self.name, "url": self.url,
        }  # fmt: skip
        code = self.nursery.ask("migrate", pending=pending, kill_after=kill_after, **about)["exit"]
        self.lives += 1
        words = "\n".join(path.read_text()[-6000:] for path in self.root.glob("failure-*"))
        assert code in {0, -signal.SIGKILL}, f"{code}, after {sorted(pending)[:3]}: {words}"
        assert (code == 0) == self.finished
        return None if code == 0 else killed.read_text() if killed.exists() else ""


def moments(nursery: Nursery, tmp_path: Path, seed: int) -> dict[str, float]:
    """The moments of a script that nothing interrupts, with how probably to die at each of them when it comes."""
    clean = Script(nursery, tmp_path / "clean", seed)
    assert clean.live({}) is None
    counts: dict[str, int] = json.loads((clean.root / "trace").read_text())
    assert counts["build: before catalog.create_generation"] == counts["build: after catalog.mark_ready"] == 2
    assert counts["promote: after catalog.switch"] == 2
    assert counts["rollback: before catalog.switch"] == counts["forward: after catalog.switch"] == 1
    assert counts["retire: before store.drop"] == 1
    assert counts["gc: after catalog.retire"] == 1
    return {
        moment: 1.0 if count <= OFTEN else 0.3 for moment, count in counts.items() if moment.partition(":")[0] in PHASES
    }


def kill_everywhere(
    nursery: Nursery, tmp_path: Path, seed: int, pending: dict[str, float], name: str = "recipes"
) -> int:
    """Kill at each of the moments, in script after script. Returns the number of kills."""
    kills, script, first = 0, None, seed
    while pending:
        if script is None or script.finished:
            script, seed = Script(nursery, tmp_path / f"script-{seed}", seed, name), seed + 1
            assert seed < first + 40, f"never reached: {sorted(pending)}"
        moment = script.live(pending)
        if moment is not None:
            del pending[moment]
            kills += 1
    assert script is not None
    if not script.finished:
        assert script.live({}) is None
    return kills


@pytest.mark.parametrize("part", range(2))
def test_killed_at_every_step_of_a_migration(nursery: Nursery, tmp_path: Path, part: int) -> None:
    """Whatever step dies, one complete generation is live, none has missed an edit, and nothing is left over."""
    chosen = {key: luck for key, luck in moments(nursery, tmp_path, part).items() if key.split()[-1] in NAMED}
    mine = dict(list(chosen.items())[part::2])
    assert kill_everywhere(nursery, tmp_path, 10 + 100 * part, mine) >= 20


def test_killed_at_any_instant_of_a_migration(nursery: Nursery, tmp_path: Path) -> None:
    """The same for random instants, within a vendor's code too."""
    assert kill_at_random(nursery, tmp_path, 500, kills=8) == 8


def kill_at_random(nursery: Nursery, tmp_path: Path, seed: int, kills: int) -> int:
    """Kill so often at random instants, in script after script."""
    chance, killed, script = random.Random(seed), 0, None
    while killed < kills:
        if script is None or script.finished:
            script, seed = Script(nursery, tmp_path / f"script-{seed}", seed), seed + 1
        killed += script.live({}, kill_after=chance.uniform(0.05, 1.0)) is not None
    assert script is not None
    if not script.finished:
        assert script.live({}) is None
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_every_call_of_many_migrations(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    """The same at every call of every port, reading ones included, in other histories."""
    everywhere = moments(nursery, tmp_path, 1000 + 100 * seed)
    assert kill_everywhere(nursery, tmp_path, 1010 + 100 * seed, everywhere) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_very_many_instants_of_migrations(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    """The same at a hundred random instants."""
    assert kill_at_random(nursery, tmp_path, 5000 + 100 * seed, kills=100) == 100
