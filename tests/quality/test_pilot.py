"""A pilot is judged by the queries that its slice can answer, and by the gate that the configuration asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.quality.conftest import Makers, document, sentence

from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Migration
from regen.errors import GateNotMet
from regen.evaluation.conditions import CheckCondition, LatencyCondition, MeasureCondition
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.index import Index
from regen.ports import Vector
from regen.quality.settings import EvaluationSettings

COUNT = 60
DOCUMENTS = tuple(document(number) for number in range(COUNT))
QUESTIONS = JudgedCollection(
    "questions",
    tuple(JudgedQuery(f"q{number}", sentence(10 * number + 1)) for number in range(COUNT)),
    {f"q{number}": {f"d{number}": 1} for number in range(COUNT)},
)


class Astray(HashingEmbedder):
    """A model that is sound with documents and gets every query wrong: only judged queries can tell."""

    def embed_query(self, text: str) -> Vector:
        """The vector of another text."""
        vector: Vector = super().embed_query(text)[::-1].copy()
        return vector


def evaluation(*more: Any) -> EvaluationSettings:
    """What is asked of a candidate: not much worse than the live one."""
    gate = (MeasureCondition("RR@10", "max_drop", 0.2), *more)
    return EvaluationSettings([QUESTIONS], ("RR@10",), gate, searches=10)


def asked_for(make: Makers, embedder: HashingEmbedder, *more: Any, share: float = 0.5) -> Index:
    """An index with a live generation, whose configuration asks for another model and a pilot."""
    old = HashingEmbedder(64)
    make(*DOCUMENTS, embedder=old).close()
    return make(
        embedder=embedder, models={old.info.name: old}, migration=Migration(pilot=share), evaluation=evaluation(*more)
    )


def test_a_model_that_misunderstands_queries_is_stopped_by_its_pilot(make: Makers) -> None:
    """Its vectors are sound, and yet it finds nothing: the judged queries say so before the rest is built."""
    index = asked_for(make, Astray(64, 5))
    with pytest.raises(GateNotMet, match=r"judged queries on 0.5 of the documents: hold; .*RR@10"):
        index.apply()
    assert [item.state for item in index._catalog.generations()] == ["live", "building"]
    assert index._catalog.counts(2).documents < COUNT
    kept = index._catalog.evaluations(index.alias, 2)
    assert [item.verdict for item in kept] == ["hold"]
    found = kept[0].result["candidate"]["measures"]["RR@10"]
    assert found < 0.5 < kept[0].result["baseline"]["measures"]["RR@10"]


def test_a_good_model_passes_and_is_judged_again_before_it_is_promoted(make: Makers) -> None:
    """Half of the documents answer half of the queries; the promotion does not rest on what a pilot was judged by."""
    index = asked_for(make, HashingEmbedder(64, 5), CheckCondition("index_recall"))
    result = index.apply()
    note = next(text for text in result.notes if text.startswith("pilot passed"))
    assert "judged queries on 0.5 of the documents" in note
    pilot = index._catalog.evaluations(index.alias, 2)[0]
    assert not any(check["name"] == "index_recall" for check in pilot.result["checks"])
    switch = index.promote(2)
    assert switch.evaluation not in {None, pilot.id}


def test_both_generations_are_searched_for_the_slice_only(make: Makers) -> None:
    """A query whose answer is not in the slice counts for neither; else the candidate would be blamed for it."""
    index = asked_for(make, HashingEmbedder(64, 5), share=0.2)
    index.apply()
    pilot = index._catalog.evaluations(index.alias, 2)[0].result
    assert index._catalog.counts(2).documents == COUNT, "the rest was built afterwards"
    assert pilot["comparisons"][0]["queries"] == pytest.approx(0.2 * COUNT, abs=2)
    assert pilot["candidate"]["measures"]["RR@10"] > 0.8
    assert pilot["baseline"]["measures"]["RR@10"] > 0.8


def test_too_little_to_tell_does_not_stop_the_build(make: Makers) -> None:
    """A condition that a few queries cannot decide is left to the evaluation of the whole."""
    index = asked_for(make, HashingEmbedder(64, 5), MeasureCondition("RR@10", "min_lift", 0.0), share=0.2)
    result = index.apply()
    assert any(text.startswith("pilot passed") for text in result.notes)
    assert [item.state for item in index._catalog.generations()] == ["live", "ready"]


def test_without_judged_queries_only_the_sanity_of_the_slice_counts(make: Makers) -> None:
    """Nothing is evaluated, and nothing is kept, where there is nothing to judge by."""
    old = HashingEmbedder(64)
    make(*DOCUMENTS, embedder=old).close()
    index = make(
        embedder=Astray(64, 5),
        models={old.info.name: old},
        migration=Migration(pilot=0.5),
        evaluation=EvaluationSettings(gate=(LatencyCondition("p95", 100.0, None),)),
    )
    index.apply()
    assert index._catalog.evaluations(index.alias) == []
    assert np.isfinite(index.search(sentence(1))[0].score)
