"""A backfill on the terminal: paused, resumed, refused by its pilot, run in a maintenance window, given up."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from regen.cli.progress import ProgressBars
from regen.core.results import Progress

if TYPE_CHECKING:
    from tests.cli.conftest import Project

FLAT = """\
import numpy as np
from regen.engine import probes


class Flat:
    def embed_documents(self, texts):
        flat = [0.5] * 16
        return [flat if text not in probes.TEXTS else [float(ord(text[0]) % (at + 2)) + 1 for at in range(16)]
                for text in texts]

    def embed_query(self, text):
        return [0.5] * 16
"""


def ask_for(project: Project, model: str, extra: str = "") -> None:
    """Write another model, and perhaps another block, into regen.yaml."""
    text = re.sub(r"model: [\w/-]+", f"model: {model}", project.config)
    (project.root / "regen.yaml").write_text(text + extra)


@pytest.fixture
def half_built(synced: Project) -> Project:
    """Generation 1 is live; a budget has stopped the backfill of generation 2 at once."""
    ask_for(synced, "hashing/128, price_per_million_tokens: 1000", "limits: {budget_usd: 0.001}\n")
    failed = synced.json("apply", "--yes", code=1)
    assert failed["error"]["type"] == "BudgetExceeded"
    ask_for(synced, "hashing/128")
    return synced


def test_a_pause_is_seen_and_ended(half_built: Project) -> None:
    """pause, status and apply say who and why; resume lets apply go on; exit codes are 0 throughout."""
    project = half_built
    paused = project.json("pause", "--reason", "month end")
    assert paused.keys() == {"generation", "paused", "documents", "pending"}
    assert (paused["generation"], paused["documents"], paused["pending"]) == (2, 0, project.size)
    assert paused["paused"].endswith(": month end")
    told = project.run("status").out
    assert "by " in told
    assert "month end" in told
    assert "regen resume 2" in told
    held = project.json("apply", "--yes")
    assert held["embedded_texts"] == 0
    assert any("month end" in note and "regen resume 2" in note for note in held["notes"])
    assert "month end" in project.run("apply", "--yes").out
    assert project.json("status")["generations"][1]["state"] == "building"
    assert project.json("resume", "2")["paused"] is None
    assert project.json("apply", "--yes")["generation"] == 2
    states = project.json("status")["generations"]
    assert [(item["state"], item["paused"]) for item in states] == [("live", None), ("ready", None)]


def test_pause_and_resume_in_words(half_built: Project) -> None:
    """What was done, how far the backfill is, and the next step."""
    text = half_built.run("pause", "--reason", "month end").out
    assert "The backfill of generation 2 is paused" in text
    assert f"0 documents in it, {half_built.size} to go" in text
    assert "regen resume 2" in text
    text = half_built.run("resume").out
    assert "The backfill of generation 2 may go on" in text
    assert "go on: regen apply" in text


def test_nothing_to_pause(synced: Project) -> None:
    """Without a backfill the error says so, with a hint and exit code 1."""
    for verb in ("pause", "resume"):
        error = synced.json(verb, code=1)["error"]
        assert (error["type"], error["message"]) == ("NotFound", "no generation is being built")
    assert "generation 1 is live" in synced.run("pause", "1", code=1).err


def test_a_pilot_that_does_not_pass_is_exit_code_3(synced: Project) -> None:
    """A model that gives everything one vector is stopped by its pilot; without the pilot it is built."""
    (synced.root / "flat.py").write_text(FLAT)
    for number in range(30):
        synced.write(f"more{number}.md", f"# Page {number}\n\nThis is page number {number} of the handbook.\n")
    synced.json("sync")
    ask_for(synced, '"python:flat:Flat"', "migration: {pilot: 60%}\n")
    plan = synced.json("plan")
    assert [step["action"] for step in plan["steps"]] == ["create_generation", "evaluate", "embed_chunks"]
    assert plan["steps"][1]["reason"].startswith("pilot: 0.6 of the documents are built first")
    error = synced.json("apply", "--yes", code=3)["error"]
    assert error["type"] == "GateNotMet"
    assert "different texts have only 1 different vectors" in error["message"]
    assert "regen gc --retire 2" in error["hint"]
    assert synced.json("status")["generations"][1]["state"] == "building"
    ask_for(synced, '"python:flat:Flat"')
    synced.json("apply", "--yes")
    assert synced.json("status")["generations"][1]["state"] == "ready"


def test_a_maintenance_window_ends_with_the_switch(synced: Project) -> None:
    """With strategy bulk one apply builds, tends and promotes; the plan says so."""
    ask_for(synced, "hashing/64, precision: float16", "migration: {strategy: bulk}\n")
    plan = synced.json("plan")
    assert plan["strategy"] == "bulk"
    assert [step["action"] for step in plan["steps"]][-2:] == ["build_index", "promote"]
    assert "bulk" in synced.run("plan").out
    synced.json("apply", "--yes")
    assert synced.json("status")["live"] == 2


def test_what_serves_meanwhile_is_planned_as_such(synced: Project) -> None:
    """The plan names the strategy; of on_read the first apply embeds nothing, and status tells who answers for what."""
    ask_for(synced, "hashing/128", "migration: {strategy: on_read, drain: 100/min}\n")
    plan = synced.json("plan")
    assert (plan["strategy"], plan["totals"]["texts_to_embed"]) == ("on_read", 0)
    assert "returned" in plan["strategy_reason"]
    assert synced.json("apply", "--yes")["embedded_texts"] == 0
    assert any("on_read: generation 2 answers for the" in note for note in synced.json("status")["notes"])


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("pilot: 100%", "share between 0 and 100%"),
        ("pilot: 0%", "share between 0 and 100%"),
        ("throttle: 1", "more than 1"),
        ("throttle: .inf", "finite number"),
        ("priority: [queried, queried]", "at most once"),
        ("priority: [newest]", "priority"),
        ("strategy: dual", "migration.strategy must be one of"),
        ("drain: 100/min", "goes with `strategy: on_read`"),
        ("strategy: on_read, drain: 0/min", "not a rate"),
        ("strategy: on_read, drain: 100", "not a rate"),
    ],
)
def test_settings_that_make_no_sense(synced: Project, block: str, told: str) -> None:
    """Each is an error that names its place and what is valid."""
    ask_for(synced, "hashing/128", f"migration: {{{block}}}\n")
    error = synced.json("plan", code=1)["error"]
    assert told in error["message"] + str(error["hint"])
    assert "migration." in error["message"]


def test_what_nobody_asks_for_any_more_is_told_and_given_up(half_built: Project) -> None:
    """Another model written into regen.yaml half-way: apply and status say what lies there, gc --now clears it."""
    ask_for(half_built, "hashing/32")
    half_built.json("apply", "--yes")
    assert "regen gc --retire 2" in half_built.run("status").out
    assert half_built.json("gc")["retired"] == []
    assert half_built.json("gc", "--now")["retired"] == [2]
    assert [item["number"] for item in half_built.json("status")["generations"]] == [1, 3]


def test_progress_tells_money_time_and_what_slows_it() -> None:
    """A build's line has its share, rate, time left, texts, money, and the throttle while it holds, in 80 columns."""
    clock = Ticking()
    reports = [
        Progress("pilot", 250, 250, embedded_texts=800, cost_usd=0.2),
        Progress("index", 1000, 5001, embedded_texts=2100, cost_usd=1.25),
        Progress("index", 4000, 5001, embedded_texts=9400, cost_usd=5.5),
    ]
    line = last_line(clock, *reports)
    for told in ("4,000/5,001 documents", "60/s", "00:17", "9,400 embedded", "$5.50"):
        assert told in line, line
    line = last_line(clock, *reports, replace(reports[-1], note="throttled"))
    for told in ("4,000/5,001 documents", "00:", "throttled", "$5.50"):
        assert told in line, line


@dataclass
class Ticking:
    """A clock by which a report comes every 50 seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def last_line(clock: Ticking, *reports: Progress) -> str:
    """The last stage's line on a terminal of 80 columns."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, legacy_windows=False)
    bars = ProgressBars(console)
    bars._bars.get_time = clock
    for report in reports:
        clock.now += 50.0
        bars.report(report)
    with console.capture() as captured:
        console.print(bars._bars.get_renderable())
    return [line for line in captured.get().splitlines() if line.strip()][-1]
