"""SIGKILL at every named moment and at any instant, on SQLite and LanceDB, while a searcher watches (I2, I3, I5)."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.crash.conftest import Nursery
from tests.crash.life import probabilities

STEPS = 14
PARTS = 4
KINDS = ("jsonl", "files", "files", "jsonl")  # with the template of seed % 2: all four pairs


class History:
    """One history in one folder, with the number of lives spent on it and a searcher beside them."""

    def __init__(self, nursery: Nursery, root: Path, seed: int, url: str = "") -> None:
        root.mkdir()
        self.nursery, self.root, self.lives = nursery, root, 0
        self.about: dict[str, Any] = {
            "root": root, "seed": seed, "kind": KINDS[seed % 4], "count": STEPS, "url": url,
        }  # fmt: skip
        self.searcher = nursery.ask("search", **self.about)["pid"]

    @property
    def finished(self) -> bool:
        """Whether a life has come to the end and found everything in order."""
        return (self.root / "finished").exists()

    def live(self, pending: dict[str, float], kill_after: float | None = None) -> str | None:
        """One life more. Where it was killed: a moment's name, "" for any instant, None when it came to the end."""
        killed = self.root / "killed"
        killed.unlink(missing_ok=True)
        code = self.nursery.ask("live", number=self.lives, pending=pending, kill_after=kill_after, **self.about)["exit"]
        self.lives += 1
        assert code in {0, -signal.SIGKILL}, self._last_words()
        assert (code == 0) == self.finished
        return None if code == 0 else killed.read_text() if killed.exists() else ""

    def end(self) -> int:
        """Let the searcher stop. Returns how many answers it judged."""
        (self.root / "stop").touch()
        assert self.nursery.ask("wait", pid=self.searcher)["exit"] == 0, self._last_words()
        return int((self.root / "answers").read_text())

    def _last_words(self) -> str:
        return "\n".join(path.read_text()[-6000:] for path in self.root.glob("failure-*"))


def moments(nursery: Nursery, tmp_path: Path, seed: int) -> dict[str, int]:
    """How often each moment comes in a history that nothing interrupts."""
    clean = History(nursery, tmp_path / "clean", seed)
    assert clean.live({}) is None
    assert clean.end() > 0
    counts: dict[str, int] = json.loads((clean.root / "trace").read_text())
    assert counts["before catalog.commit_write"] == counts["after catalog.commit_write"] > 5
    return counts


def kill_everywhere(nursery: Nursery, tmp_path: Path, part: int, parts: int, first_seed: int) -> int:
    """Kill at this part's share of all moments, in history after history. Returns the number of kills."""
    counts = moments(nursery, tmp_path, first_seed)
    pending = dict(list(probabilities(counts).items())[part::parts])
    kills, history, seed = 0, None, first_seed
    while pending:
        if history is None or history.finished:
            assert history is None or history.end() > 0
            history, seed = History(nursery, tmp_path / f"history-{seed}", seed), seed + 4
            assert seed < first_seed + 80, f"never reached: {sorted(pending)}"
        moment = history.live(pending)
        if moment is not None:
            del pending[moment]
            kills += 1
    assert history is not None
    if not history.finished:
        assert history.live({}) is None
    assert history.end() > 0
    return kills


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_named_moment(nursery: Nursery, tmp_path: Path, part: int) -> None:
    """A process killed before and after every step of the ports leaves nothing that the next one does not mend."""
    assert kill_everywhere(nursery, tmp_path, part, PARTS, first_seed=part) >= 20


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_instant(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    """A process killed at random instants, within a vendor's code too, leaves nothing that the next does not mend."""
    assert kill_at_random(nursery, tmp_path, 100 + seed, kills=12) == 12


def kill_at_random(nursery: Nursery, tmp_path: Path, first_seed: int, kills: int) -> int:
    """Kill so often at random instants, in history after history."""
    chance, killed, seed, history = random.Random(first_seed), 0, first_seed, None
    while killed < kills:
        if history is None or history.finished:
            assert history is None or history.end() > 0
            history, seed = History(nursery, tmp_path / f"history-{seed}", seed), seed + 1
        killed += history.live({}, kill_after=chance.uniform(0.01, 0.5)) is not None
    assert history is not None
    if not history.finished:
        assert history.live({}) is None
    assert history.end() > 0
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_every_named_moment_of_many_histories(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    """The same, with every moment in each of many histories."""
    assert kill_everywhere(nursery, tmp_path, 0, 1, first_seed=1000 + 100 * seed) >= 80


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_very_many_instants(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    """The same as at any instant, a hundred times in a row."""
    assert kill_at_random(nursery, tmp_path, 5000 + 100 * seed, kills=100) == 100
