"""What the console draws and says, as pure functions: charts, answers, lives of generations, a rollout that narrows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from regen.core.alarms import Alert
from regen.core.freshness import Percentiles, SourceStatus
from regen.core.recipe import Embedding, Recipe
from regen.core.records import GenerationRecord
from regen.core.results import Freshness, StatusReport
from regen.evaluation.rollout import Analysis, advance, start
from regen.evaluation.tallies import ArmTally, Measurement
from regen.evaluation.trail import extended, look
from regen.ports.catalog import Switch
from regen.ports.insight import Searchable, Spent
from regen.ports.rollouts import KeptEvaluation, Rollout
from regen.server.console import answers, charts, trends, words
from regen.server.console.lives import lives, phases
from regen.server.console.narrowing import bounds_of, narrowed, weight_steps

NOW = 1_000_000.0
WEEK = trends.window("week", NOW)
FRESH = Freshness(0, 0, 0, 0, 0.0, Percentiles(0.4, 1.0, 2.0))
REPORT = StatusReport("handbook", 1, [], FRESH, 0.0, 1_204, [], [])
TIMES = st.floats(NOW - 30 * words.DAY, NOW)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"), (0.34, "340 ms"), (4.21, "4.2 s"), (59.7, "60 s"), (60, "1 min"), (200, "3 min 20 s"),
        (3_600, "1 h"), (18_720, "5 h 12 min"), (9 * 86_400 + 3 * 3_600, "9 d 3 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, said: str) -> None:
    """Two units at most, the largest first."""
    assert words.duration(seconds) == said


def test_what_regen_says_is_marked_up() -> None:
    """Commands become code, and nothing in them markup."""
    said = words.marked_up("run `regen <x>` & look")
    assert said == Markup("run <code>regen &lt;x&gt;</code> &amp; look")
    assert words.marked_up("a lone ` <b>") == Markup("a lone ` &lt;b&gt;")


@example([(NOW, 5e-324)])
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # cores may be busy with other things
@given(st.lists(st.tuples(TIMES, st.floats(0, 1e6)), max_size=60))
def test_drawings_are_whole(points: list[tuple[float, float]]) -> None:
    """Whatever the numbers, a drawing is well-formed and holds no number that no browser can read."""
    changes = [Searchable(at, seconds) for at, seconds in sorted(points)]
    spent = [Spent(at, 1, "m", 3, 30, usd) for at, usd in sorted(points)]
    for drawn in (trends.freshness(changes, WEEK), trends.spending(spent, WEEK)):
        if drawn.svg:
            ET.fromstring(str(drawn.svg))
            assert not re.search(r"nan|inf", str(drawn.svg))
        else:
            assert drawn.empty


def source(missed: str) -> SourceStatus:
    """A source that must be searchable within 5 seconds."""
    return SourceStatus("wiki", 9, 1, 3.0, Percentiles(0.4, 1.0, 9.0), NOW, {"p99": 5.0}, not missed, missed)


LATE = "Not as fresh as it must be"


@pytest.mark.parametrize(
    ("freshness", "live", "tone", "headline"),
    [
        (FRESH, 1, "good", "Every change is searchable"),
        (FRESH, None, "unsure", "Nothing can be searched yet"),
        (replace(FRESH, pending=1, oldest_pending_seconds=3.0), 1, "unsure", "1 change waits"),
        (replace(FRESH, pending=41, oldest_pending_seconds=900.0), 1, "unsure", "41 changes wait"),
        (replace(FRESH, pending=41, sources=[source("p99 is 9 s, and may be 5 s")]), 1, "bad", LATE),
        (replace(FRESH, pending=1, sources=[source("")]), 1, "unsure", "1 change waits"),
        (replace(FRESH, sources=[source("")]), 1, "good", "Every change is searchable"),
        (replace(FRESH, failed=2), 1, "bad", "2 documents could not be processed"),
        (replace(FRESH, deleted_still_present=3), 1, "unsure", "Every change is searchable"),
    ],
)
def test_is_it_fresh(freshness: Freshness, live: int | None, tone: str, headline: str) -> None:
    """In words that fit the figures."""
    found = answers.is_it_fresh(replace(REPORT, freshness=freshness, live=live), [], WEEK)
    assert (found.tone, found.headline) == (tone, headline)


def test_late_is_what_regen_yaml_calls_late() -> None:
    """The target stands beside the figure, what misses it is told; where there is none, that is told, too."""
    missed = replace(FRESH, pending=2, sources=[source("p99 is 9 s, and may be 5 s")])
    found = answers.is_it_fresh(replace(REPORT, freshness=missed), [], WEEK)
    assert found.detail == "Wiki: p99 is 9 s, and may be 5 s."
    assert [(item.label, item.unit) for item in found.figures[2:]] == [("p99", "of 5 s")]
    waiting = replace(FRESH, pending=2, oldest_pending_seconds=9_000.0)
    told = answers.is_it_fresh(replace(REPORT, freshness=waiting), [], WEEK).detail
    assert "2 h 30 min" in told
    assert "No target says how long" in told


def test_a_job_that_fails_makes_search_stale() -> None:
    """Nothing waits, because nobody reads the source any more."""
    alert = Alert("job source wiki", "job", "failed 3 times in a row: no route to host", NOW - 60)
    found = answers.is_it_fresh(replace(REPORT, alerts=[alert]), [], WEEK)
    assert (found.tone, found.headline) == ("bad", "1 job cannot be done")
    assert found.detail == "source wiki: failed 3 times in a row: no route to host"
    over = replace(alert, resolved_at=NOW)
    assert answers.is_it_fresh(replace(REPORT, alerts=[over]), [], WEEK).tone == "good"


def test_a_first_load_is_not_nothing() -> None:
    """What a generation was filled with is no change; it is told since when there was none."""
    first = answers.is_it_fresh(REPORT, [], WEEK, NOW - 120)
    assert first.chart.empty == "Generation 1 was complete 2 min ago; no change was made since."
    old = answers.is_it_fresh(REPORT, [], WEEK, NOW - 30 * words.DAY)
    assert old.chart.empty == "No change was made in the last 7 days."


def test_alarms_are_told_once() -> None:
    """What a monitor has raised and what the newest evaluation says of the same thing are one alarm."""
    raised = [
        Alert("floor nDCG@10 (wiki)", "floor", "0.4000 is below 0.5; 3 of 9 queries are", NOW),
        Alert("check model_unchanged", "check", "the model moved", NOW),
        Alert("freshness wiki", "freshness", "late", NOW),
    ]
    evaluated = ["nDCG@10 on wiki is 0.4000, and must be at least 0.5", "known_queries: one is lost"]
    report = replace(REPORT, alarms=evaluated, alerts=raised)
    assert answers.unraised(report) == ["known_queries: one is lost"]
    found = answers.is_it_right(report, [], WEEK, NOW)
    assert (found.tone, found.headline) == ("bad", "3 alarms about what is live")
    assert found.detail == "nDCG@10 (wiki): 0.4000 is below 0.5; 3 of 9 queries are"


def kept(at: float, value: float | None, generation: int = 1) -> KeptEvaluation:
    """An evaluation as the catalog has it."""
    measures = {} if value is None else {"nDCG@10": value}
    result = {"candidate": {"measures": measures}, "comparisons": [], "checks": [{"passed": True}], "reasons": []}
    return KeptEvaluation(1, "handbook", generation, None, "promote", "f", 1, at, result)


@pytest.mark.parametrize(
    ("evaluations", "alarms", "tone", "headline"),
    [
        ([kept(NOW - 60, 0.5)], [], "good", "nDCG@10 is 0.5000"),
        ([kept(NOW - 60, 0.5)], ["recall fell"], "bad", "1 alarm about what is live"),
        ([kept(NOW - 60 * words.DAY, 0.5)], [], "unsure", "nDCG@10 was 0.5000"),
        ([kept(NOW - 60, None)], [], "unsure", "Only checked, not measured"),
        ([kept(NOW - 60, 0.5, generation=2)], [], "unsure", "Generation 1 was never measured"),
        ([], [], "unsure", "Generation 1 was never measured"),
    ],
)
def test_is_it_right(evaluations: list[KeptEvaluation], alarms: list[str], tone: str, headline: str) -> None:
    """Of the live generation only; an old measurement is no proof of today."""
    found = answers.is_it_right(replace(REPORT, alarms=alarms), evaluations, WEEK, NOW)
    assert (found.tone, found.headline) == (tone, headline)


@pytest.mark.parametrize(
    ("cost", "budget", "tone", "headline"),
    [
        (0.0, None, "good", "Free so far"),
        (3.0, 5.0, "good", "$1.00 in 7 days"),
        (3.0, None, "unsure", "$1.00 in 7 days"),
    ],
)
def test_is_it_affordable(cost: float, budget: float | None, tone: str, headline: str) -> None:
    """Money without a budget is not sure."""
    spent = [Spent(NOW - 60, 1, "m", 10, 1_000, 1.0)]
    found = answers.is_it_affordable(replace(REPORT, cost_usd=cost), spent, WEEK, budget)
    assert (found.tone, found.headline) == (tone, headline)


def record(number: int, state: str, created: float, completed: float | None) -> GenerationRecord:
    """A generation."""
    return GenerationRecord(number, state, Recipe(Embedding("m", 8)), "", created, completed, None, None, 0.0)


def test_the_life_of_a_generation() -> None:
    """Filled, live, retained, live again: as its own times and the alias's history tell."""
    switches = [
        Switch(3, 1, 2, "ann", "back", 400.0),
        Switch(2, 2, 1, "ann", "better", 300.0),
        Switch(1, 1, None, "regen", "first", 100.0),
    ]
    first = phases(record(1, "live", 0.0, 100.0), switches, 500.0)
    assert [(item.kind, item.since, item.until) for item in first] == [
        ("building", 0.0, 100.0), ("live", 100.0, 300.0), ("retained", 300.0, 400.0), ("live", 400.0, 500.0),
    ]  # fmt: skip
    second = phases(record(2, "retained", 200.0, 250.0), switches, 500.0)
    assert [item.kind for item in second] == ["building", "ready", "live", "retained"]
    drawn = lives([record(1, "live", 0.0, 100.0), record(2, "retained", 200.0, 250.0)], switches, [], 500.0)
    assert [item.record.number for item in drawn] == [2, 1]
    for item in drawn:
        ET.fromstring(str(item.drawing))


def test_a_rollout_narrows() -> None:
    """More looks, a narrower band; the bounds of the conditions and the steps are drawn with it."""
    analysis = Analysis(
        success_condition="queries >= 1000 and error_rate_delta < 0.02",
        failure_condition="error_rate_delta > 0.05",
        steps=(0.1, 0.5),
    )
    state = start(analysis)
    trail: list[Mapping[str, Any]] = []
    for at in range(1, 9):
        state, action = advance(state, Measurement(ArmTally(queries=200, errors=2), ArmTally(queries=100, errors=1)))
        trail = extended(trail, look(NOW + at, state, action))
    rollout = Rollout(
        1,
        "handbook",
        "canary",
        2,
        0.1,
        {},
        {"rollout": state.to_dict(), "trail": trail},
        "running",
        3,
        "ann",
        "try",
        NOW,
        NOW + 9,
    )
    widths = [item["values"]["error_rate_delta"][1] - item["values"]["error_rate_delta"][0] for item in trail]
    assert widths == sorted(widths, reverse=True)
    [found] = narrowed(rollout, NOW + 10)
    assert found.name == "error rate delta"
    assert found.bounds == "success < 0.02, failure > 0.05"
    drawing = ET.fromstring(str(found.chart.svg))
    assert sum("band" in item.get("class", "") for item in drawing) == 3
    assert [(step.weight, step.stage) for step in weight_steps(rollout)] == [(0.1, "now"), (0.5, "later")]
    assert bounds_of(analysis, "queries") == [("success", ">=", 1000.0)]


def test_a_rollout_without_looks_says_when_the_first_one_comes() -> None:
    """Begun a moment ago, or by an older version that kept none."""
    rollout = Rollout(
        1,
        "handbook",
        "canary",
        2,
        0.1,
        {},
        {"rollout": start(Analysis()).to_dict()},
        "running",
        1,
        "ann",
        "try",
        NOW,
        NOW,
    )
    assert all(item.chart.empty for item in narrowed(rollout, NOW + 1))
    assert narrowed(rollout, NOW + 1)
    assert charts.round_up(0) == 1.0
