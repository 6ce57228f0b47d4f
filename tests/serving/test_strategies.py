"""Strategies that serve while a generation is filled: planned, begun, gone on with, and ended."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.filling import QUERIES, Filling, filling, plain, text

from regen import Document, Index
from regen.core.results import Progress, SearchResult, SyncResult
from regen.embedders.hashing import HashingEmbedder
from regen.engine import probes
from regen.engine.settings import Migration
from regen.errors import ConfigError, EmbedderContract
from regen.evaluation.judged import JudgedCollection, JudgedQuery
from regen.quality.settings import EvaluationSettings
from regen.serving.on_read import OnRead

QRELS = {str(n): {f"d{n:03}": 1} for n in range(40)}
JUDGED = JudgedCollection("known", tuple(JudgedQuery(str(n), text(n)[:60]) for n in range(40)), QRELS)
EVALUATION = EvaluationSettings(collections=[JUDGED])


def sent(world: Filling) -> list[str]:
    """The document texts that the new model was sent."""
    asked = {*QUERIES, *(query.text for query in JUDGED.queries)}
    return [one for call in world.new.calls for one in call if one not in probes.TEXTS and one not in asked]


def applied(index: Index) -> SyncResult:
    """Plan and apply; what was planned was done (I9)."""
    plan = index.plan()
    result = index.apply(plan)
    assert plan.totals.texts_to_embed == result.embedded_texts
    return result


# ── rolling ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_rolling_serves_from_the_first_batch(tmp_path: Path) -> None:
    """Searches during the build are merged; when it is ready they are the new generation's; promotion ends it."""
    with filling(tmp_path, migration=Migration("rolling"), evaluation=EVALUATION) as world:
        plan = world.index.plan()
        assert (plan.strategy, "merged" in plan.strategy_reason) == ("rolling", True)
        seen: list[set[int]] = []

        def look(progress: Progress) -> None:
            rollout = world.index.rollout()
            assert rollout is not None
            assert (rollout.kind, rollout.candidate) == ("rolling", 2)
            seen.append({hit.generation for query in QUERIES for hit in world.search(query)})

        result = world.index.apply(plan, progress=look)
        assert plan.totals.texts_to_embed == len(sent(world)) == len(set(sent(world)))
        assert result.embedded_texts <= len(sent(world)), "what searches had embedded was not embedded again"
        assert seen
        assert world.generation(2).state == "ready"
        for query in QUERIES:
            assert plain(world.search(query)) == world.pure(2, query)
        assert any("rolling: generation 2 answers for the 60 documents" in note for note in world.index.status().notes)
        rollout = world.index.rollout()
        assert rollout is not None
        assert rollout.state["relevant"] == {"pending": 0, "total": 40}
        world.index.promote(force=True, reason="test")
        assert world.index.rollout() is None
        assert world.index.rollouts()[0].status == "ended"


def test_rolling_knows_where_relevance_lies(tmp_path: Path) -> None:
    """What is pending of the judged relevant documents is counted when the build begins."""
    with filling(tmp_path, migration=Migration("rolling"), evaluation=EVALUATION) as world:
        world.create()
        world.place([f"d{n:03}" for n in range(10)])
        world.index._migrating.begin(world.generation(2))
        rollout = world.index.rollout()
        assert rollout is not None
        assert rollout.state["relevant"] == {"pending": 30, "total": 40}
        world.index.delete(["d000", "d030"])
        world.index.upsert([Document("d001", "Edited, so it waits.")])
        world.index._migrating.refresh(world.generation(2))
        rollout = world.index.rollout()
        assert rollout is not None
        assert rollout.state["relevant"] == {"pending": 30, "total": 38}


def test_a_build_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """The rollout outlives the process that began it, is not begun twice, and an aborted one is not begun again."""
    with filling(tmp_path, migration=Migration("rolling")) as world:
        world.create()
        world.place([f"d{n:03}" for n in range(30)])
        world.index._migrating.begin(world.generation(2))
        world.index.close()
        world.index = world.open(new=True, migration=Migration("rolling"))
        assert {hit.generation for query in QUERIES for hit in world.search(query)} == {1, 2}
        world.index._migrating.begin(world.generation(2))
        assert len(world.index.rollouts()) == 1
        world.index.abort_rollout("worse")
        assert {hit.generation for query in QUERIES for hit in world.search(query)} == {1}
        result = applied(world.index)
        assert any("aborted (worse)" in note for note in result.notes)
        assert world.index.rollout() is None
        assert world.generation(2).state == "ready"


def test_a_generation_that_is_given_up_ends_it(tmp_path: Path) -> None:
    """The live generation answers from the next search on."""
    with filling(tmp_path, migration=Migration("rolling")) as world:
        world.create()
        world.place([f"d{n:03}" for n in range(30)])
        world.index._migrating.begin(world.generation(2))
        world.index.retire(2)
        assert world.index.rollout() is None
        assert plain(world.search(QUERIES[0])) == world.pure(1, QUERIES[0])


def test_another_rollout_is_not_disturbed(tmp_path: Path) -> None:
    """A build beside another generation's canary is not served, and says so (I10)."""
    with filling(tmp_path) as world:
        applied(world.index)
        world.index.begin_rollout(2, route="canary", weight=0.5)
        world.index.close()
        third = HashingEmbedder(32)
        world.index = Index(
            embedder=third, models={m.info.name: m for m in (world.old, world.new, third)}, store=world.store,
            root=tmp_path, catalog="sqlite:///catalog.db", migration=Migration("rolling"),
        )  # fmt: skip
        result = applied(world.index)
        assert any("not begun, since another rollout, canary of generation 2" in note for note in result.notes)
        rollout = world.index.rollout()
        assert rollout is not None
        assert (rollout.kind, rollout.candidate) == ("canary", 2)


# ── on read ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_on_read_embeds_what_is_returned(tmp_path: Path) -> None:
    """Apply begins and embeds nothing; a search is answered by the old, then its documents are the new generation's."""
    with filling(tmp_path, migration=Migration("on_read")) as world:
        plan = world.index.plan()
        assert ([step.action for step in plan.steps], plan.totals.texts_to_embed) == (["create_generation"], 0)
        assert any("embeds none of the" in note for note in plan.notes)
        result = world.index.apply(plan)
        assert (result.embedded_texts, sent(world)) == (0, [])
        before = world.search(QUERIES[0])
        assert plain(before) == world.pure(1, QUERIES[0])
        assert settled(world)
        returned = {hit.doc_id for hit in before}
        held = {facts.doc_id for page in world.index._catalog.placements(2) for facts, _ in page}
        assert held == returned
        needed = {row[3] for row in world.pure(1, QUERIES[0], 400) if row[0] in returned}
        assert sorted(sent(world)) == sorted(needed)
        assert any(hit.generation == 2 for hit in world.search(QUERIES[0]))
        assert any("on_read: generation 2 answers for the" in note for note in world.index.status().notes)


def test_on_read_is_finished_by_another_apply(tmp_path: Path) -> None:
    """The second apply builds the rest, pays for nothing twice, and its plan says both."""
    with filling(tmp_path, migration=Migration("on_read")) as world:
        applied(world.index)
        world.search(QUERIES[0])
        assert settled(world)
        already = len(sent(world))
        assert already > 0
        result = applied(world.index)
        assert result.embedded_texts == len(sent(world)) - already > 0
        assert len(sent(world)) == len(set(sent(world)))
        assert world.generation(2).state == "ready"
        assert plain(world.search(QUERIES[1])) == world.pure(2, QUERIES[1])


def test_on_read_after_a_crash_between_two_steps(tmp_path: Path) -> None:
    """A generation that was made, but not begun, is begun by the next apply, which embeds nothing either."""
    with filling(tmp_path, migration=Migration("on_read")) as world:
        world.create()
        plan = world.index.plan()
        assert (plan.totals.texts_to_embed, plan.empty) == (0, False)
        assert world.index.apply(plan).embedded_texts == 0
        rollout = world.index.rollout()
        assert rollout is not None
        assert rollout.kind == "on_read"


def test_a_process_that_ends_places_what_waits(tmp_path: Path) -> None:
    """One search of one process, as on the command line, still moves its documents."""
    with filling(tmp_path, migration=Migration("on_read")) as world:
        applied(world.index)
        returned = {hit.doc_id for hit in world.search(QUERIES[0])}
        world.index.close()
        world.index = world.open(new=True, migration=Migration("on_read"))
        assert set(world.index._catalog.fence(2, sorted(returned))) == returned


def test_on_read_that_fails_is_seen(tmp_path: Path) -> None:
    """While the model is down searches are answered, status says that nothing is placed, and nothing is lost."""
    with filling(tmp_path, migration=Migration("on_read")) as world:
        applied(world.index)
        down = True

        def plan(_call: int, texts: object) -> Exception | None:
            return EmbedderContract("model down") if down and not isinstance(texts, str) else None

        world.new.plan = plan
        returned = {hit.doc_id for hit in world.search(QUERIES[0])}
        assert returned
        assert waited(lambda: any("model down" in note for note in world.index.status().notes))
        assert world.index._catalog.fence(2, sorted(returned)) == {}
        down = False
        assert waited(lambda: bool(world.search(QUERIES[0])) and len(placed(world)) >= len(returned))
        assert waited(lambda: not any("model down" in note for note in world.index.status().notes))


def test_a_slow_drain_finishes(tmp_path: Path) -> None:
    """With a drain the rest follows by itself, and the generation becomes ready."""
    with filling(tmp_path, migration=Migration("on_read", drain=400.0)) as world:
        applied(world.index)
        world.search(QUERIES[0])
        assert waited(lambda: world.generation(2).state == "ready", 20.0)
        assert len(placed(world)) == 60
        assert len(sent(world)) == len(set(sent(world)))


def test_a_drain_needs_its_strategy() -> None:
    """A drain that nothing would come of is refused."""
    for settings in ({"strategy": "rolling", "drain": 1.0}, {"strategy": "on_read", "drain": 0.0}):
        with pytest.raises(ConfigError, match="drain"):
            Migration(**settings)  # type: ignore[arg-type]


def test_the_queue_is_bounded_and_holds_each_once() -> None:
    """Beyond its bound documents are left out and counted; one that waits already is not added."""
    taken: list[list[str]] = []

    def place(_generation: int, ids: list[str]) -> int:
        while not going:
            time.sleep(0.001)
        taken.append(ids)
        return len(ids)

    going: list[bool] = []
    queue = OnRead(place, lambda *_: 0, most=3)
    queue.want(2, ["first"])
    assert waited(lambda: queue._busy)
    queue.want(2, ["a", "b", "a", "b"])
    queue.want(2, ["c", "d", "e"])
    queue.want(2, ["a", "c"])
    going.append(True)
    assert queue.settle(5.0)
    queue.close()
    assert sorted(doc for ids in taken for doc in ids) == ["a", "b", "c", "first"]
    assert (queue.progress.left_out, queue.progress.placed) == (2, 4)


# ── bridge ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bridge_that_is_not_better_is_off(tmp_path: Path) -> None:
    """Too few texts for a map: it stays off, says why, and nothing is paid twice; the build goes on."""
    with filling(tmp_path, migration=Migration("bridge"), evaluation=EVALUATION) as world:
        plan = world.index.plan()
        assert any("a map is fitted on them" in note for note in plan.notes)
        told = world.index.apply(plan)
        assert told.embedded_texts == plan.totals.texts_to_embed == len(set(sent(world)))
        assert any("bridge: off: " in note and "too few" in note for note in told.notes)
        newest = world.index.rollouts()[0]
        assert (newest.kind, newest.status, newest.weight) == ("bridge", "ended", 0.0)
        assert world.generation(2).state == "ready"


def test_a_bridge_is_decided_once(tmp_path: Path) -> None:
    """A build that is stopped and goes on does not fit and measure again; status tells meanwhile why it is off."""
    with filling(tmp_path, migration=Migration("bridge"), evaluation=EVALUATION) as world:
        world.create()
        world.index._migrating.begin(world.generation(2))
        assert any("bridge to generation 2: off: " in note for note in world.index.status().notes)
        asked = len(world.new.calls)
        assert world.index._migrating.begin(world.generation(2)).notes == []
        assert (len(world.index.rollouts()), len(world.new.calls)) == (1, asked)
        assert plain(world.search(QUERIES[0])) == world.pure(1, QUERIES[0])


def settled(world: Filling) -> bool:
    """Whether the background has placed what waited."""
    queue = world.index._on_read
    assert queue is not None
    return queue.settle(10.0)


def placed(world: Filling) -> set[str]:
    """The documents that the new generation holds."""
    return {facts.doc_id for page in world.index._catalog.placements(2) for facts, _ in page}


def waited(condition: object, seconds: float = 10.0) -> bool:
    """Whether a condition came true in time."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_on_read_places_what_users_are_shown(tmp_path: Path) -> None:
    """A reranker looks at more candidates than users are shown; those that it drops are not embedded."""

    class Backwards:
        def candidates(self, k: int) -> int:
            return 10 * k

        def rerank(self, _query: str, result: SearchResult, k: int) -> SearchResult:
            return replace(result, hits=result.hits[::-1][:k])

        def close(self) -> None:
            """Nothing is held."""

    with filling(tmp_path, migration=Migration("on_read")) as world:
        applied(world.index)
        world.index._reader.reranking = Backwards()  # type: ignore[assignment]
        shown = {hit.doc_id for hit in world.search(QUERIES[0], 3)}
        assert settled(world)
        assert placed(world) == shown
