"""SIGKILL at named moments and at any instant where catalog and vectors share a PostgreSQL: nothing is left to collect.

The lives, the searcher beside them and the comparisons are those of ``test_kill.py`` and ``test_switch.py``; here each
life finds, before it does anything, that the one before it left no intent, no garbage and no half of a change.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.crash.conftest import Nursery
from tests.crash.life import probabilities
from tests.crash.test_kill import History
from tests.crash.test_switch import Script

from regen.testing.postgres_server import PostgresServer

JOINT = {
    "together", "within", "insert", "delete", "update_payload", "set_alias", "commit_write", "switch", "go_live",
    "create_generation", "advance", "log", "tombstone", "acquire", "release", "add_fields", "create", "drop", "retire",
    "mark_ready",
}  # fmt: skip
"""The steps that change something."""


class Databases:
    """A database for each history."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server, self._template = server, template
        self.open = ExitStack()

    def new(self) -> str:
        """The URL of another one."""
        return self.open.enter_context(self._server.database(self._template))


@pytest.fixture
def databases(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Databases]:
    """Databases that are dropped in the end."""
    made = Databases(postgres_server, postgres_template)
    with made.open:
        yield made


def kill_everywhere(nursery: Nursery, databases: Databases, folder: Path, seed: int, part: int, parts: int) -> int:
    """Kill at a part of all moments that change something, in history after history. Returns the number of kills."""
    clean = History(nursery, folder / "clean", seed, databases.new())
    assert clean.live({}) is None
    assert clean.end() > 0
    counts: dict[str, int] = json.loads((clean.root / "trace").read_text())
    assert "before catalog.begin_write" not in counts
    changing = {moment: luck for moment, luck in probabilities(counts).items() if moment.rpartition(".")[2] in JOINT}
    pending = dict(list(changing.items())[part::parts])
    kills, history = 0, None
    while pending:
        if history is None or history.finished:
            assert history is None or history.end() > 0
            seed += 4
            history = History(nursery, folder / f"history-{seed}", seed, databases.new())
        moment = history.live(pending)
        if moment is not None:
            del pending[moment]
            kills += 1
    assert history is not None
    assert history.finished or history.live({}) is None
    assert history.end() > 0
    return kills


def test_killed_at_named_moments(nursery: Nursery, databases: Databases, tmp_path: Path) -> None:
    """Before and after steps within the transaction and around it; a searcher judges every answer meanwhile."""
    assert kill_everywhere(nursery, databases, tmp_path, 0, 0, 8) >= 4


@pytest.mark.slow
def test_killed_at_every_named_moment(nursery: Nursery, databases: Databases, tmp_path: Path) -> None:
    """The same at all of them."""
    assert kill_everywhere(nursery, databases, tmp_path, 1, 0, 1) >= 24


@pytest.mark.slow
def test_killed_at_any_instant(nursery: Nursery, databases: Databases, tmp_path: Path) -> None:
    """At random instants, within the driver's code and the server's too."""
    chance, kills, seed, history = random.Random(3), 0, 50, None
    while kills < 25:
        if history is None or history.finished:
            assert history is None or history.end() > 0
            seed += 1
            history = History(nursery, tmp_path / f"history-{seed}", seed, databases.new())
        kills += history.live({}, kill_after=chance.uniform(0.05, 1.0)) is not None
    assert history is not None
    assert history.finished or history.live({}) is None
    assert history.end() > 0


@pytest.mark.slow
def test_killed_in_a_migration(nursery: Nursery, databases: Databases, tmp_path: Path) -> None:
    """Build, promotion, rollback, retirement and collection: the view never strays from the alias, nothing is left."""
    clean = Script(nursery, tmp_path / "clean", 7, url=databases.new())
    assert clean.live({}) is None
    counts: dict[str, int] = json.loads((clean.root / "trace").read_text())
    phases = {"build", "promote", "rollback"}
    changing = [key for key in counts if key.rpartition(".")[2] in JOINT and key.split(":")[0] in phases]
    pending = {key: 1.0 / min(counts[key], 2) for key in changing}
    assert len(pending) > 20
    kills, seed, script = 0, 8, None
    while pending:
        if script is None or script.finished:
            seed += 1
            assert seed < 60, sorted(pending)
            script = Script(nursery, tmp_path / f"script-{seed}", seed, url=databases.new())
        moment = script.live(pending)
        if moment is not None:
            del pending[moment]
            kills += 1
    assert script is not None
    assert script.finished or script.live({}) is None
    assert kills > 20
