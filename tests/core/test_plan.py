"""Plans as data: sums, JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from regen.core.plan import ACTIONS, PLAN_VERSION, Plan, Step
from regen.errors import ConfigError

STEPS = (
    Step("place_documents", "new", 3, 9, 8, 800, 0.008, 1.5),
    Step("delete_documents", "gone", 2, 4),
    Step("replace_documents", "edited", 1, 2, 2, 200, 0.002, 0.5),
)


def plan(**changes: Any) -> Plan:
    """A plan of three steps."""
    values: dict[str, Any] = {
        "steps": STEPS, "from_generation": 1, "to_generation": 1, "catalog_revision": 42, "source_digest": "ab",
        "recipe": "cd", "allow_mass_delete": True, "notes": ("a note",), "strategy_reason": "because",
    }  # fmt: skip
    return Plan(**(values | changes))


def test_totals_are_the_sums() -> None:
    """Of every column over all steps."""
    totals = plan().totals
    assert (totals.documents, totals.chunks, totals.texts_to_embed, totals.tokens) == (6, 15, 10, 1_000)
    assert totals.cost_usd == pytest.approx(0.01)
    assert totals.seconds == pytest.approx(2.0)


def test_an_empty_plan() -> None:
    """It says so, and its sums are zero."""
    assert plan(steps=()).empty
    assert not plan().empty
    assert plan(steps=()).totals.documents == 0


def test_a_plan_that_only_amends() -> None:
    """Another query prefix is a change without a step: not empty, and not the same as a plan without it."""
    amending = plan(steps=(), amends="query prefix '' -> 'ask: '")
    assert not amending.empty
    assert amending.totals.documents == 0
    assert not amending.does_the_same_as(plan(steps=()))
    assert amending.does_the_same_as(replace(amending, notes=()))
    assert Plan.from_dict(amending.to_dict()) == amending


def test_the_same_whatever_time_it_takes() -> None:
    """Estimated seconds do not make a plan stale; a count, or another target, does."""
    slower = plan(steps=(replace(STEPS[0], seconds=99.0), *STEPS[1:]))
    assert slower.does_the_same_as(plan())
    assert not plan(steps=(replace(STEPS[0], chunks=8), *STEPS[1:])).does_the_same_as(plan())
    assert not plan(to_generation=2).does_the_same_as(plan())


def test_a_plan_reads_back() -> None:
    """Through JSON text, with everything that apply compares."""
    assert Plan.from_dict(json.loads(json.dumps(plan().to_dict()))) == plan()


def test_the_keys_that_scripts_rely_on() -> None:
    """They may grow, but none goes or is renamed."""
    data = plan().to_dict()
    assert {"steps", "totals", "strategy", "generation", "catalog_revision"} <= data.keys()
    step_keys = {"action", "reason", "documents", "chunks", "texts_to_embed", "tokens", "cost_usd", "seconds"}
    assert step_keys <= data["steps"][0].keys()
    assert step_keys - {"action", "reason"} <= data["totals"].keys()
    assert data["generation"] == {"from": 1, "to": 1}
    assert len(ACTIONS) == 14


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ({"version": 99}, f"not a plan of version {PLAN_VERSION}: version is 99"),
        ({"version": None}, "version is None"),
        ({"generation": {}}, "damaged: 'from'"),
        ({"steps": [{"action": "place_documents"}]}, "damaged"),
        ({"steps": [{"nonsense": 1}]}, "damaged"),
    ],
)
def test_what_is_no_plan(spoil: dict[str, Any], told: str) -> None:
    """A file of something else, of another version or cut short says what to do."""
    with pytest.raises(ConfigError, match="regen plan --out") as caught:
        Plan.from_dict(plan().to_dict() | spoil)
    assert told in str(caught.value)
