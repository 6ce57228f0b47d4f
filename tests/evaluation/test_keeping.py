"""An evaluation that the catalog keeps can be drawn again: every query's change, the most changed ones whole."""

from __future__ import annotations

import math

import orjson
import pytest
from tests.evaluation.examples import EXAMPLES

from regen.evaluation import changed, sections
from regen.evaluation.keeping import from_kept, to_kept
from regen.evaluation.outcome import Evaluation


def through_json(evaluation: Evaluation) -> Evaluation:
    """As the catalog gives it back."""
    return from_kept(orjson.loads(orjson.dumps(to_kept(evaluation))))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "hostile"])
def test_what_is_kept_draws_the_same(name: str) -> None:
    """Verdict, comparisons, win/loss counts and the most changed queries are those of the evaluation itself."""
    made = EXAMPLES[name]()
    found = through_json(made)
    assert (found.verdict, found.reasons, found.checks, found.signals) == (
        made.verdict, made.reasons, made.checks, made.signals,
    )  # fmt: skip
    assert len(found.queries) == len(made.queries)
    assert changed.leading_measure(found) == changed.leading_measure(made)
    assert changed.shown_queries(found) == changed.shown_queries(made)
    counted = [
        [
            (plot.measure, plot.won, plot.lost, plot.equal)
            for item in sections.collections_of(one)
            for plot in item.plots
        ]
        for one in (made, found)
    ]
    assert counted[0] == counted[1]


def test_what_json_has_no_number_for_comes_back() -> None:
    """A probability that could not be computed is not one of zero."""
    made = next(make() for make in EXAMPLES.values() if make().comparisons)
    kept = orjson.loads(orjson.dumps(to_kept(made)))
    kept["comparisons"][0]["p_value"] = None
    assert math.isnan(from_kept(kept).comparisons[0].p_value)


def test_one_kept_by_an_older_version_has_no_queries() -> None:
    """What was kept before queries were is shown without them."""
    kept = EXAMPLES["hold"]().to_dict()
    found = from_kept(orjson.loads(orjson.dumps(kept)))
    assert found.queries == ()
    assert len(found.comparisons) == len(kept["comparisons"]) > 0


def test_it_stays_small() -> None:
    """The ranked documents of most queries are left out: less than a fifth of all remains."""
    made = EXAMPLES["hold"]()
    assert len(made.queries) > 100
    assert len(orjson.dumps(to_kept(made))) < 0.3 * len(orjson.dumps(made.to_dict(queries=True)))
