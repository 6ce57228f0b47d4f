"""What users get while a model is changed, on real text and through the index itself: cranfield under WordLlama."""

from __future__ import annotations

import pytest
from benchmarks.serving_migration import bridge, changing, judged, on_read, quality, rolling

from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.errors import EmbedderContract
from regen.quality.settings import EvaluationSettings
from regen.testing.faulty import FaultyEmbedder

pytestmark = pytest.mark.usefixtures("real_data")
SMALL, LARGE = WordLlamaEmbedder(64), WordLlamaEmbedder(256)


def test_rolling_runs_along_the_straight_line() -> None:
    """Half migrated, in a random order and its reverse, users are at most 0.01 nDCG@10 below the line."""
    ((_, found, line),) = rolling("cranfield", SMALL, LARGE, [0.5])
    assert line > 0.36
    assert found > line - 0.01


def test_half_the_query_log_brings_most_of_the_upgrade() -> None:
    """On read: after half of a log with popular queries, far fewer documents are embedded than upgrade is had."""
    ((_, held, had),) = on_read("cranfield", SMALL, LARGE, [0.5])
    assert had > 0.6
    assert held < had - 0.1


def test_a_bridge_that_is_not_better_stays_off() -> None:
    """Between two sizes of one model a map brings nothing that is surely more: users get the old ranking."""
    found = bridge("cranfield", SMALL, LARGE)
    assert found["weight"] == 0.0
    assert found["reason"].startswith("off: ") or "no blend is 95% sure" in found["reason"]
    assert found["served"] == found["live"] == pytest.approx(found["nothing"])


def test_a_bridge_helps_a_weak_model_until_the_backfill_ends() -> None:
    """The naive bridge loses, a blend gains; it is served, gives way when the new model fails, and ends by itself."""
    failing: list[Exception | None] = [None]
    new = FaultyEmbedder(LARGE, lambda _call, _texts: failing[0])
    with changing(
        "cranfield", "bridge", HashingEmbedder(64), new, evaluation=EvaluationSettings([judged("cranfield")])
    ) as index:
        target = index._writer.create(index.recipe)
        index._migrating.begin(target)
        rollout = index.rollout()
        assert rollout is not None
        state = rollout.state
        assert state["naive"] < state["nothing"]
        assert 0 < state["weight"] == rollout.weight
        served, live = quality(index, judged("cranfield")), quality(index, judged("cranfield"), generation=1)
        assert served > live + 0.01
        sample = index._catalog.counts(2).documents
        assert 900 < sample < 1_200
        found = index.search("heat transfer in a boundary layer")
        assert {(hit.generation, hit.space) for hit in found} == {(1, found.space)}
        failing[0] = EmbedderContract("out of order")
        alone = index.search("heat transfer in a boundary layer")
        assert "the query was not bridged" in (alone.explanation.fallback or "")
        assert [hit.doc_id for hit in alone] == [
            hit.doc_id for hit in index.search("heat transfer in a boundary layer", generation=1)
        ]
        failing[0] = None
        assert any("bridge to generation 2" in note for note in index.status().notes)
        index.apply()
        assert index.rollout() is None
        assert index.rollouts()[0].status == "ended"
        sent = [text for call in new.calls if len(call) > 1 for text in call]
        assert len(sent) - len(set(sent)) < 20, "the sample is not embedded again; only the probes are"


def test_a_bridge_without_judgments_is_judged_by_held_out_documents() -> None:
    """Documents that the map has not seen are asked for by their first words."""
    with changing("cranfield", "bridge", HashingEmbedder(64), LARGE) as index:
        index._migrating.begin(index._writer.create(index.recipe))
        state = index.rollouts(1)[0].state
        assert (state["judged"], state["queries"]) == ("held-out documents", 200)
        assert state["weight"] == 0.0, "hashing finds a document by its own words better than any map does"
