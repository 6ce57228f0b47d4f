"""Quality over time: what falls below its floor raises an alarm that names the documents involved."""

from __future__ import annotations

from typing import Any

import pytest
from tests.quality.conftest import Makers, document

from regen import Index
from regen.core.priority import Cut
from regen.embedders.hashing import HashingEmbedder
from regen.errors import NotFound
from regen.evaluation.conditions import CheckCondition, LatencyCondition, MeasureCondition
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.evaluation.known import KnownQuery
from regen.evaluation.outcome import Arm, CheckResult, Evaluation, QueryOutcome
from regen.quality.monitoring import Alarm, alarms, floors_of, watch
from regen.quality.settings import EvaluationSettings
from regen.testing.faulty import FaultyEmbedder

RR = "RR"


def outcome(
    query: str, value: float, *, collection: str = "c", tags: tuple[str, ...] = (), **grades: int
) -> QueryOutcome:
    """One query's value and judgments."""
    return QueryOutcome(collection, query, query, tags, {}, {RR: value}, (), (), grades)


def found(*queries: QueryOutcome, checks: tuple[CheckResult, ...] = ()) -> Evaluation:
    """An evaluation of the live generation."""
    return Evaluation(None, Arm(1, {}), (), checks, "promote", queries=queries)


def floor(value: float, **where: Any) -> MeasureCondition:
    """A floor of the reciprocal rank."""
    return MeasureCondition(RR, "min", value, **where)


def test_a_mean_below_its_floor() -> None:
    """The relevant documents of the queries below it are involved, those of the worst query first."""
    evaluation = found(
        outcome("q1", 1.0, fine=1),
        outcome("q2", 0.2, b=1, a=2, no=0),
        outcome("q3", 0.0, c=1, a=1),
        outcome("q4", 0.3, d=1),
    )
    (alarm,) = alarms(evaluation, [floor(0.5)])
    assert (alarm.kind, alarm.subject, alarm.documents) == ("floor", "RR (c)", ("a", "c", "b", "d"))
    assert alarm.detail == "0.3750 is below 0.5; 3 of 4 queries are"
    assert alarms(evaluation, [floor(0.375)]) == ()
    assert alarms(evaluation, []) == ()


def test_collections_and_slices_are_judged_apart() -> None:
    """One that is well hides no other; a floor may be of one collection or slice only."""
    evaluation = found(
        outcome("q1", 1.0, collection="a", x=1), outcome("q2", 0.1, collection="b", tags=("de",), y=1),
        outcome("q3", 0.9, collection="b", z=1),
    )  # fmt: skip
    assert [alarm.subject for alarm in alarms(evaluation, [floor(0.6)])] == ["RR (b)"]
    assert alarms(evaluation, [floor(0.6, collection="a")]) == ()
    (alarm,) = alarms(evaluation, [floor(0.3, slice="de")])
    assert (alarm.subject, alarm.documents) == ("RR (b, de)", ("y",))
    assert alarms(evaluation, [MeasureCondition("nDCG@10", "min", 0.9)]) == ()


def test_failed_checks_alarm() -> None:
    """Those that gate do, with what they name; passed and advisory ones do not."""
    lost = CheckResult("known_queries", False, "lost", hint="look", documents=("a", "b"))
    evaluation = found(checks=(lost, CheckResult("x", True, "fine"), CheckResult("y", False, "so what", gates=False)))
    assert alarms(evaluation, []) == (Alarm("check", "known_queries", "lost Hint: look", ("a", "b")),)


def test_floors_are_the_gate_s_own() -> None:
    """A gate's ``min`` conditions hold later as well; all others need a candidate."""
    gate = (floor(0.5), MeasureCondition(RR, "max_drop", 0.1), LatencyCondition("p95", 2.0), CheckCondition("coverage"))
    assert floors_of(gate) == (floor(0.5),)


# ── a round on a real index ─────────────────────────────────────────────────────────────────────────────────────────


class Forgetful(FaultyEmbedder):
    """A model that once embeds a document as if it were another text."""

    def __init__(self) -> None:
        super().__init__(HashingEmbedder(64), lambda _call, _texts: None)
        self.confused = False

    def embed_documents(self, texts: Any) -> Any:
        """What it is sent, or something else."""
        return super().embed_documents(texts) if not self.confused else -super().embed_documents(texts)


QUERIES = JudgedCollection(
    "c",
    tuple(JudgedQuery(f"q{at}", document(at).text) for at in range(6)),
    {f"q{at}": {f"d{at}": 1} for at in range(6)},
)
GATE = (floor(0.9),)


def spoilt_index(make: Makers) -> tuple[Index, Forgetful]:
    """An index of which one document has a wrong vector."""
    model = Forgetful()
    known = [KnownQuery(document(2).text, ("d2",), 1)]
    index = make(
        *(document(number) for number in range(6) if number != 2),
        embedder=model,
        evaluation=EvaluationSettings([QUERIES], measures=(RR,), gate=GATE, searches=0, known=known),
    )
    model.confused = True
    index.upsert([document(2)])
    model.confused = False
    return index, model


def test_documents_involved_are_flagged_and_reprocessed(make: Makers) -> None:
    """Every alarm names the document with the wrong vector; embedding just that one anew ends all of them."""
    index, model = spoilt_index(make)
    first = watch(index, GATE)
    assert {alarm.subject for alarm in first.alarms} == {"RR (c)", "known_queries", "recent_documents"}
    assert all("d2" in alarm.documents for alarm in first.alarms)
    assert (first.generation, first.reprocessed) == (1, None)
    assert first.flagged == len({doc for alarm in first.alarms for doc in alarm.documents})
    model.calls.clear()
    second = watch(index, GATE, reprocess=True)
    assert second.alarms == first.alarms
    assert second.reprocessed is not None
    assert second.reprocessed.embedded_texts == second.flagged
    assert watch(index, GATE, reprocess=True).alarms == ()
    assert [item.generation for item in index._catalog.evaluations("default")] == [1, 1, 1]


def test_flagged_documents_come_first_in_a_backfill(make: Makers) -> None:
    """What the monitor flagged is in the tier of badly found documents."""
    index, _ = spoilt_index(make)
    flagged = {doc for alarm in watch(index, GATE).alarms for doc in alarm.documents}
    index.close()
    assert flagged == {"d2"}
    index = make(embedder=HashingEmbedder(96), models={"hashing/64": HashingEmbedder(64)})
    number = index._writer.create(index.recipe).number
    tier = Cut("flagged", (), 1, 0.0)
    first = index._catalog.behind(number, after=0, upto=99, lane=None, limit=9, max_bytes=1 << 20, cut=tier)
    assert [work.doc_id for work in first] == ["d2"]


def test_documents_that_are_gone_are_not_reprocessed(make: Makers) -> None:
    """Judgments name documents that were deleted since: they raise the alarm, and nothing is embedded for them."""
    index, _ = spoilt_index(make)
    index.delete(["d2"])
    done = watch(index, GATE, reprocess=True)
    assert {"RR (c)", "known_queries"} <= {alarm.subject for alarm in done.alarms}
    assert done.reprocessed is None


def test_nothing_is_watched_before_anything_is_live(make_in_memory: Makers) -> None:
    """There is nothing to evaluate, and the error says what to do."""
    with pytest.raises(NotFound, match="no generation is live"):
        watch(make_in_memory(), GATE)
