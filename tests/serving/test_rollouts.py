"""Two generations serve: who is answered by which, what is learned, and what is done about it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regen import Chunking, Document
from regen.embedders.hashing import HashingEmbedder
from regen.errors import AliasMoved, ConfigError, EvaluationError, NotFound, NotPromotable
from regen.index import Index
from regen.ports import ModelInfo, Vector, Vectors
from regen.ports.rollouts import Rollout
from regen.quality import rollouts

DOCUMENTS = [Document(f"d{n}", f"text number {n} about topic {n % 7} and word{n}") for n in range(40)]


class Fragile:
    """A model of another name whose queries can be made to fail."""

    def __init__(self) -> None:
        self.inner = HashingEmbedder(12)
        self.broken = False

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("fragile", 12, max_batch_texts=64)

    def embed_documents(self, texts: list[str]) -> Vectors:
        return -self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        if self.broken:
            raise ValueError("the provider is down")
        return -self.inner.embed_query(text)

    def token_starts(self, texts: list[str]) -> Any:
        return self.inner.token_starts(texts)


class Two:
    """An index with a live generation 1 and a ready generation 2."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.model = root, Fragile()
        self.now = 1_000_000.0
        monkeypatch.setattr(rollouts, "PATIENCE", 0.0)
        with self.open(HashingEmbedder(32)) as index:
            index.upsert(DOCUMENTS)
        self.index = self.open(self.model)
        self.index.apply()
        assert [item.state for item in self.index._writer.current()] == ["live", "ready"]

    def open(self, embedder: object, **more: Any) -> Index:
        return Index(
            embedder=embedder,
            models={"hashing/32": HashingEmbedder(32), "fragile": self.model},
            store=f"lancedb://{self.root}/vectors",
            catalog=f"sqlite:///{self.root}/catalog.db",
            chunking=Chunking("whole"),
            **more,
        )

    def current(self) -> Rollout:
        found = self.index.rollout()
        assert found is not None
        return found


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    """Two generations over the same documents."""
    world = Two(tmp_path, monkeypatch)
    yield world
    world.index.close()


def answered_by(index: Index, keys: list[str]) -> dict[str, int]:
    """Which generation answers each caller."""
    return {key: index.search("topic 3", 3, key=key).generation for key in keys}


def test_a_canary_is_sticky_and_grows(two: Two) -> None:
    """A caller stays on his side; as the weight grows, nobody goes back; an explicit generation is not divided."""
    keys = [f"user {n}" for n in range(200)]
    begun = two.index.begin_rollout(weight=0.2)
    before = answered_by(two.index, keys)
    assert answered_by(two.index, keys) == before
    assert 20 <= Counter(before.values())[2] <= 60
    two.index._catalog.change_rollout(begun, at=2.0, weight=0.6)
    after = answered_by(two.index, keys)
    assert all(after[key] == 2 for key in keys if before[key] == 2)
    assert 90 <= Counter(after.values())[2] <= 150
    assert {two.index.search("topic 3", generation=1, key=key).generation for key in keys} == {1}


def test_each_side_compares_in_its_own_space(two: Two) -> None:
    """The hits and scores of either side are those of a search of that generation alone (I1)."""
    two.index.begin_rollout(weight=0.5)
    for n in range(30):
        found = two.index.search("word5 topic", 5, key=str(n))
        alone = two.index.search("word5 topic", 5, generation=found.generation)
        assert [(hit.doc_id, hit.score, hit.space) for hit in found] == [
            (hit.doc_id, hit.score, hit.space) for hit in alone
        ]
        assert found.query_id


def test_a_failing_candidate_fails_no_search_and_is_aborted(two: Two) -> None:
    """The live generation answers in its place and says so (I10); enough failures set the weight to zero."""
    two.index.begin_rollout(weight=0.5)
    two.model.broken = True
    told = 0
    for n in range(200):
        found = two.index.search("topic 3", key=f"user {n}")
        assert (found.generation, len(found)) == (1, 10)
        told += "provider is down" in (found.explanation.fallback or "")
    assert 60 <= told <= 140
    action = two.index.advance_rollout(force=True)
    assert action is not None
    assert (action.kind, action.weight) == ("abort", 0.0)
    assert two.index.rollout() is None
    aborted = two.index.rollouts()[0]
    assert aborted.status == "aborted"
    assert "error_rate_delta" in aborted.reason
    assert {two.index.search("topic 3", key=f"user {n}").explanation.fallback for n in range(50)} == {None}


def test_success_is_promoted_through_the_gate(two: Two) -> None:
    """Step by step up to the last weight; then the candidate is live, resting on an evaluation, and all is over."""
    settings = {"steps": [0.5, 1.0], "success_condition": "queries >= 20", "failure_condition": "error_rate > 0.5"}
    two.index.begin_rollout(analysis=settings)
    assert two.current().weight == 0.5
    for n in range(80):
        two.index.search("topic 3", key=f"user {n}")
    action = two.index.advance_rollout(force=True)
    assert action is not None
    assert (action.kind, two.current().weight) == ("step_up", 1.0)
    assert two.index.advance_rollout(force=True).kind == "continue"  # type: ignore[union-attr]
    for n in range(30):
        assert two.index.search("topic 3", key=f"user {n}").generation == 2
    action = two.index.advance_rollout(force=True)
    assert action is not None
    assert action.kind == "succeed"
    newest = two.index.switches()[0]
    assert (newest.live, newest.evaluation is not None, newest.forced) == (2, True, False)
    assert "canary succeeded" in newest.reason
    assert two.index.rollout() is None


def test_interleaving_learns_from_clicks(two: Two) -> None:
    """Every list holds documents of both; clicks on the candidate's are its wins, and feedback is checked."""
    two.index.begin_rollout(route="interleaved")
    for n in range(60):
        found = two.index.search(f"word{n % 40}", 6, key=str(n))
        assert len({hit.doc_id for hit in found}) == len(found.hits) == 6
        assert {hit.generation for hit in found} <= {1, 2}
        assert {hit.space for hit in found if hit.generation == 1} <= {two.index.search("x", generation=1).space}
        two.index._reader.log.flush()
        logged = two.index._catalog.logged_query(str(found.query_id))
        assert logged is not None
        mine = [doc for doc, team in zip(logged.returned, logged.teams, strict=True) if team == "candidate"]
        if mine:
            two.index.feedback(str(found.query_id), mine[:1])
    two.index.advance_rollout(force=True)
    status = two.index.rollout() or two.index.rollouts()[0]
    seen = status.state["rollout"]["seen"]["preference"]
    assert seen["wins"] > 10
    assert seen["losses"] == 0
    with pytest.raises(ConfigError, match="was not among the 6"):
        two.index.feedback(str(found.query_id), ["d999"])
    with pytest.raises(NotFound, match="no logged query"):
        two.index.feedback("nothing", ["d1"])


def test_a_shadow_is_seen_by_nobody(two: Two) -> None:
    """All answers are the live generation's; the candidate's are logged beside them."""
    two.index.begin_rollout(route="shadow")
    for n in range(25):
        assert two.index.search(f"word{n}", 3).generation == 1
    for _ in range(100):
        two.index._reader.log.flush()
        logged = two.index._catalog.logged_queries("default", rollout=two.current().id)
        if len(logged) == 50:
            break
        time.sleep(0.05)
    assert Counter(query.arm for query in logged) == {"baseline": 25, "candidate": 25}
    assert all(query.generation == 2 for query in logged if query.arm == "candidate")


def test_a_rollout_survives_a_restart(two: Two) -> None:
    """Its state is in the catalog: another process divides callers alike and goes on counting."""
    two.index.begin_rollout(weight=0.3)
    keys = [f"user {n}" for n in range(60)]
    before = answered_by(two.index, keys)
    two.index.close()
    two.index = two.open(two.model)
    assert answered_by(two.index, keys) == before
    two.index.advance_rollout(force=True)
    assert two.current().state["rollout"]["seen"]["candidate"]["queries"] == 2 * Counter(before.values())[2]


def test_pause_resume_and_abort(two: Two) -> None:
    """By hand, each recorded; of two who change it at once one is told."""
    begun = two.index.begin_rollout(weight=0.3)
    assert two.index.pause_rollout("wait").status == "paused"
    assert two.index.search("topic 3", key="user 1").query_id
    assert two.index.resume_rollout().status == "running"
    with pytest.raises(EvaluationError, match="not paused"):
        two.index.resume_rollout()
    with pytest.raises(AliasMoved):
        two.index._catalog.change_rollout(begun, at=5.0, weight=0.9)
    assert two.index.abort_rollout("enough").status == "aborted"
    with pytest.raises(NotFound, match="no rollout"):
        two.index.abort_rollout("again")


def test_status_tells_and_gc_forgets(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status names the rollout; gc forgets its queries a month after they were asked."""
    two.index.begin_rollout(weight=0.3)
    assert any("canary of generation 2 to 30% of the callers is running" in note for note in two.index.status().notes)
    two.index.search("topic 3", key="user 1")
    two.index._reader.log.flush()
    two.index.gc()
    assert len(two.index._catalog.logged_queries("default")) == 1
    month, real = 31 * 86_400, time.time
    monkeypatch.setattr("regen.index.time.time", lambda: real() + month)
    two.index.gc()
    assert two.index._catalog.logged_queries("default") == []


def test_what_cannot_be_rolled_out(two: Two) -> None:
    """The live one, one that is not there, a second rollout, settings that make no sense."""
    with pytest.raises(NotPromotable, match="generation 1 is live"):
        two.index.begin_rollout(1)
    with pytest.raises(NotFound):
        two.index.begin_rollout(9)
    with pytest.raises(ConfigError, match="steps_of"):
        two.index.begin_rollout(analysis={"steps_of": 3})
    with pytest.raises(EvaluationError, match="rising shares"):
        two.index.begin_rollout(analysis={"steps": [0.5, 0.2]})
    two.index.begin_rollout()
    with pytest.raises(NotPromotable, match="is running"):
        two.index.begin_rollout()
    two.index.retire(2)
    assert two.index.rollout() is None
    assert two.index.search("topic 3").generation == 1


def test_own_vectors_are_not_divided(two: Two) -> None:
    """A caller's vector is of one space: the live generation answers it (I1)."""
    two.index.begin_rollout(weight=1.0, analysis={"steps": [1.0]})
    vector = np.ones(32, dtype=np.float32)
    space = two.index.search("x", generation=1).space
    assert two.index.search(vector, space=space, key="user 1").generation == 1


def test_a_sync_judges_and_promotes(two: Two) -> None:
    """A process that only searches steps up and leaves promoting to one that writes; the gate still decides."""
    settings = {
        "steps": [1.0],
        "interval": 0.001,
        "success_condition": "queries >= 5",
        "failure_condition": "error_rate > 0.9",
    }
    two.index.begin_rollout(analysis=settings)
    for n in range(60):
        two.index.search("topic 3", key=str(n))
    assert two.index._catalog.route("default").live == 1
    assert two.index.rollouts()[0].status == "succeeded"
    assert two.index.search("topic 3").generation == 1
    result = two.index.upsert([Document("new", "a new text about topic 3")])
    assert two.index._catalog.route("default").live == 2
    assert any("succeed" in note for note in result.notes)


def test_promote_with_a_canary_begins_one(two: Two) -> None:
    """Nothing is switched; the answer names the rollout."""
    result = two.index.promote(2, canary=0.05, reason="carefully")
    assert (result.live, result.rollout, two.current().weight) == (1, two.current().id, 0.05)
    assert two.current().reason == "carefully"
    assert two.index.promote(2).live == 2
