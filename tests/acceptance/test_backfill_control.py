"""A backfill under control: paused, slowed down, tried on a slice, run in a maintenance window, given up, paid for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Worlds
from tests.acceptance.generations import Move, assert_same, clean, document

import regen
from regen import Chunking, Document
from regen.core.priority import in_slice, pilot_cut
from regen.core.results import Progress, SyncResult
from regen.core.throttle import Throttle
from regen.embedders.hashing import HashingEmbedder
from regen.engine import gauge, probes
from regen.engine.control import Brake, Paused
from regen.engine.settings import Limits, Migration
from regen.errors import BudgetExceeded, EmbedderError, GateNotMet, NotFound, NotPromotable
from regen.ports import Embedder, MaintainedStore, ModelInfo, StoreHit, Vectors
from regen.ports.catalog import Generation
from regen.stores.memory import MemoryStore

DOCUMENTS = tuple(document(number) for number in range(24))
OLD, NEW = HashingEmbedder(32), HashingEmbedder(64, 7)
SMALL_BATCHES = Limits(batch_documents=2)
PRICE = {"price_per_million_tokens": 1_000.0}


def started(worlds: Worlds, *documents: Document, **settings: Any) -> Move:
    """A live generation of the old model."""
    move = Move(worlds(*(documents or DOCUMENTS), embedder=OLD, limits=SMALL_BATCHES, **settings))
    move.index.sync()
    return move


@dataclass
class Interrupt:
    """Does something once, when the backfill has come so far."""

    after: int
    act: Callable[[], object]
    done: bool = False

    def __call__(self, progress: Progress) -> None:
        """A report of the run."""
        if progress.stage == "index" and progress.done >= self.after and not self.done:
            self.done = True
            self.act()


@pytest.fixture
def looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfill asks before every batch whether it was paused, not once a second."""
    monkeypatch.setattr("regen.engine.control.LOOK_EVERY", 0.0)


# ── pause and resume ────────────────────────────────────────────────────────────────────────────────────────


def paused_half_way(move: Move) -> SyncResult:
    """An apply that another handle pauses on its way."""
    move.to(NEW)
    with other_handle(move) as other:
        stop = Interrupt(6, lambda: other.pause(reason="the provider is slow"))
        result = move.index.apply(progress=stop)
    assert stop.done
    return result


def other_handle(move: Move) -> regen.Index:
    """The same index, opened a second time."""
    world = move.world
    return regen.Index(
        embedder=world.embedder, store="memory://", catalog="sqlite:///catalog.db", root=world.folder, **world.settings
    )  # fmt: skip


@pytest.mark.usefixtures("looks_always")
def test_a_pause_stops_a_backfill_of_another_handle(lance_worlds: Worlds) -> None:
    """It stops between two batches, keeps what is done, says who, why and how to go on, and sends no further text."""
    move = started(lance_worlds)
    result = paused_half_way(move)
    assert move.states() == {1: "live", 2: "building"}
    held = move.contents(2)
    assert 0 < len(held) < len(move.contents(1))
    told = next(note for note in result.notes if "paused" in note)
    assert "the provider is slow" in told
    assert "regen resume 2" in told
    status = move.index.status()
    assert status.generations[1].paused is not None
    assert status.generations[1].paused.endswith(": the provider is slow")
    assert status.generations[0].paused is None
    asked = len(move.sent())
    again = move.index.apply()
    assert (again.embedded_texts, len(move.sent())) == (0, asked)
    assert move.contents(2).keys() == held.keys()
    assert any("paused" in note for note in again.notes)


@pytest.mark.usefixtures("looks_always")
@pytest.mark.parametrize("cached", [True, False])
def test_after_a_resume_nothing_is_paid_twice(worlds: Worlds, cached: bool) -> None:
    """The next apply goes on, another handle's edits included, and the end is that of an index never paused."""
    chunked = {"chunking": Chunking("sentences", 16), "cache": "vectors.db"} if cached else {}
    move = started(worlds, **chunked)
    paused_half_way(move)
    move.world.put(document(3, sentences=2), document(99))
    del move.world.source.documents["d5"]
    followed = move.index.sync()
    assert (followed.documents.updated, followed.documents.deleted) == (1, 1), "a sync goes on as ever"
    resumed = move.index.resume()
    assert (resumed.generation, resumed.paused) == (2, None)
    assert resumed.documents + resumed.pending >= 24
    move.step()
    assert move.states() == {1: "live", 2: "ready"}
    assert len(texts_sent(move, NEW)) == len(set(texts_sent(move, NEW))) > 24 - 2
    chunked.pop("cache", None)
    assert_same(move.contents(2), clean(worlds, NEW, *move.world.source.documents.values(), **chunked))
    assert not [note for note in move.index.status().notes if "paused" in note]


def test_a_plan_for_a_paused_generation_builds_nothing(worlds: Worlds) -> None:
    """What is planned is what is done: the documents only, until somebody resumes."""
    move = started(worlds)
    half_paid(move)
    move.index.pause()
    move.world.put(document(99))
    plan, result = move.step()
    assert [step.action for step in plan.steps] == ["place_documents"]
    assert any("regen resume 2" in note for note in result.notes)
    move.index.resume(2)
    plan, _ = move.step()
    assert [step.action for step in plan.steps] == ["embed_chunks"]
    assert move.states() == {1: "live", 2: "ready"}


def test_what_cannot_be_paused(worlds: Worlds) -> None:
    """Nothing that is built, a finished generation, an unknown one, the first one ever: each is told why."""
    move = started(worlds)
    with pytest.raises(NotFound, match="no generation is being built"):
        move.index.pause()
    with pytest.raises(NotPromotable, match="generation 1 is live"):
        move.index.pause(1)
    with pytest.raises(NotFound, match="there is no generation 7"):
        move.index.resume(7)
    first = worlds(*DOCUMENTS, embedder=OLD, limits=Limits(retry_attempts=1))
    first.fail(lambda _call, _texts: ConnectionError("cable cut"))
    with pytest.raises(EmbedderError, match="cable cut"):
        first.index.sync()
    with pytest.raises(NotPromotable, match="is the first one"):
        first.index.pause()


def test_resume_is_idempotent_and_ready_forgets_the_pause(worlds: Worlds) -> None:
    """Twice is as once; a generation that became ready just when it was paused is ready."""
    move = started(worlds)
    half_paid(move)
    assert move.index.resume().paused is None
    catalog, number = move.index._catalog, 2
    catalog.pause(number, "ann")
    catalog.advance(number, catalog.head())
    assert catalog.mark_ready(number, at=time.time())
    assert move.generation(2).paused is None


def half_paid(move: Move, limit: float | None = None, **settings: Any) -> float:
    """A build that its budget has stopped half-way; the whole of its price."""
    move.to(NEW, embedding=PRICE, **settings)
    price = move.index.plan().totals.cost_usd
    move.to(limits=Limits(batch_documents=2, budget_usd=price / 2 if limit is None else limit))
    with pytest.raises(BudgetExceeded):
        move.index.apply()
    assert move.states() == {1: "live", 2: "building"}
    move.to(limits=SMALL_BATCHES)
    return price


# ── the brake ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Clock:
    """A clock that only sleeping moves; ``on_sleep`` is told of each."""

    now: float = 0.0
    on_sleep: Callable[[float], None] = lambda _now: None

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.on_sleep(self.now)


@pytest.fixture
def building(worlds: Worlds) -> Move:
    """A world with a generation that is half built."""
    move = started(worlds)
    half_paid(move)
    return move


def test_the_brake_looks_at_the_catalog_once_a_second(building: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred batches within a second ask once; when a second has passed, a pause is seen."""
    catalog, clock, asked = building.index._catalog, Clock(), []
    real = catalog.generations

    def counted() -> list[Generation]:
        asked.append(1)
        return real()

    monkeypatch.setattr(catalog, "generations", counted)
    brake = Brake(catalog, 2, clock=clock, sleep=clock.sleep)
    for _ in range(100):
        brake()
    assert len(asked) == 1
    catalog.pause(2, "ann: lunch")
    clock.now = 0.99
    brake()
    clock.now = 1.0
    with pytest.raises(Paused, match="ann: lunch"):
        brake()


def test_the_brake_waits_while_searches_are_slow_and_no_longer(building: Move) -> None:
    """Waits grow to their bound and each ends; one ends early when the searches recover."""
    throttle, clock = Throttle(2.0, 0.01), Clock()
    brake = Brake(building.index._catalog, 2, throttle, clock=clock, sleep=clock.sleep)
    brake()
    assert (clock.now, brake.note) == (0.0, "")
    throttle.observe(0.5)
    ends = []
    for _ in range(7):
        brake()
        ends.append(round(clock.now, 6))
    assert ends == [0.25, 0.75, 1.75, 3.75, 7.75, 11.75, 15.75]
    assert brake.note == "throttled"
    assert (round(throttle.waited, 6), throttle.waits) == (15.75, 7)

    def recover(now: float) -> None:
        if now > 17:
            throttle.smoothed = 0.0

    clock.on_sleep = recover
    brake()
    assert 17 < clock.now < 17.2
    assert brake.note == ""


def test_a_pause_ends_a_wait(building: Move) -> None:
    """Who waits for slow searches still looks whether somebody has paused."""
    catalog, throttle, clock = building.index._catalog, Throttle(2.0, 0.01), Clock()
    throttle.observe(0.5)
    brake = Brake(catalog, 2, throttle, clock=clock, sleep=clock.sleep)
    for _ in range(5):
        brake()
    clock.on_sleep = lambda _now: catalog.pause(2, "ann")
    with pytest.raises(Paused):
        brake()


# ── throttle ────────────────────────────────────────────────────────────────────────────────────────────────


class SlowStore(MemoryStore):
    """A store whose searches take long while anybody writes vectors of the new model."""

    def __init__(self, suffers: bool) -> None:
        super().__init__()
        self.suffers, self.burdened, self.searches = suffers, False, 0

    def search(self, *args: Any, **options: Any) -> list[StoreHit]:
        """As any store, but slowly under load."""
        self.searches += 1
        time.sleep(0.03 if self.burdened else 0.004)
        return super().search(*args, **options)

    def upsert(self, collection: str, points: Any) -> None:
        """The load begins."""
        self.burdened = self.suffers
        super().upsert(collection, points)


class PacedEmbedder(HashingEmbedder):
    """A model that takes a moment for every call, so that a backfill lasts long enough to be watched."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors, later."""
        time.sleep(0.05)
        return super().embed_documents(texts)


@pytest.mark.parametrize("suffers", [True, False])
def test_a_backfill_makes_room_for_searches(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, suffers: bool) -> None:
    """When live searches become slow the backfill waits, says so and is finished all the same; else it never waits."""
    monkeypatch.setattr(gauge, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(gauge.Gauge.__init__, "__defaults__", (0.05,))
    monkeypatch.setattr("regen.core.throttle.LONGEST_WAIT", 0.3)
    monkeypatch.setattr("regen.core.throttle.FIRST_WAIT", 0.1)
    store, notes = SlowStore(suffers), []
    common: dict[str, Any] = {"store": store, "catalog": "sqlite:///catalog.db", "root": tmp_path}
    with regen.Index(embedder=OLD, **common) as index:
        index.upsert(DOCUMENTS)
    store.burdened = False
    migration = Migration(throttle=3.0)
    with regen.Index(
        embedder=PacedEmbedder(64, 7), limits=SMALL_BATCHES, migration=migration, models={OLD.info.name: OLD}, **common
    ) as index:
        threads = threading.active_count()
        result = index.apply(progress=lambda report: notes.append(report.note))
        assert threading.active_count() == threads, "nothing goes on measuring"
        assert [item.state for item in index._catalog.generations()] == ["live", "ready"]
    assert store.searches > gauge.BASELINE
    assert ("throttled" in notes) == suffers
    assert any(note.startswith("throttled: ") for note in result.notes) == suffers


def test_searches_that_cannot_be_measured_hold_nothing_up(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store fails under the measurement, the backfill goes on, and the result says so."""
    monkeypatch.setattr(gauge.Gauge.__init__, "__defaults__", (0.01,))
    store = SlowStore(suffers=True)
    common: dict[str, Any] = {"store": store, "catalog": "sqlite:///catalog.db", "root": tmp_path}
    with regen.Index(embedder=OLD, **common) as index:
        index.upsert(DOCUMENTS)

    def fails(*_args: Any, **_options: Any) -> list[StoreHit]:
        if store.searches > gauge.BASELINE + gauge.WARMING:
            raise regen.errors.StoreError("the disk is gone")
        return SlowStore.search(store, *_args, **_options)

    store.burdened = False
    monkeypatch.setattr(store, "search", fails, raising=False)
    with regen.Index(
        embedder=PacedEmbedder(64, 7), limits=SMALL_BATCHES, migration=Migration(throttle=3.0),
        models={OLD.info.name: OLD}, **common,
    ) as index:  # fmt: skip
        result = index.apply()
    assert any("could not be measured any more: the disk is gone" in note for note in result.notes)


# ── pilot ───────────────────────────────────────────────────────────────────────────────────────────────────


class Flattening(HashingEmbedder):
    """A model whose vectors are all the same."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One vector for everything but the probe texts."""
        vectors = super().embed_documents(texts).copy()
        if not set(texts) <= set(probes.TEXTS):
            vectors[:] = np.ones(self.info.dimensions, dtype=np.float32)
        return vectors


def slice_of(move: Move, share: float) -> set[str]:
    """The documents that a pilot takes."""
    known = move.index._catalog.known(list(move.world.source.documents))
    return {name for name, found in known.items() if in_slice(found.doc_key, pilot_cut(share).below)}


def placed(move: Move, number: int) -> set[str]:
    """The documents of a generation, none while it is not there."""
    return {doc_id for doc_id, _ in move.contents(number)} if number in move.states() else set()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_pilot_builds_its_slice_first(worlds: Worlds, share: float) -> None:
    """A slice is complete, and judged, before any other document is sent to the model; then the rest is built."""
    move = started(worlds)
    move.to(NEW, migration=Migration(pilot=share))
    stages: list[tuple[str, set[str]]] = []
    plan = move.index.plan()
    assert [step.action for step in plan.steps] == ["create_generation", "evaluate", "embed_chunks"]
    assert plan.steps[1].reason.startswith(f"pilot: {share}")
    result = move.index.apply(plan, progress=lambda report: stages.append((report.stage, placed(move, 2))))
    piloted = [held for stage, held in stages if stage == "pilot"]
    assert piloted[-1] == slice_of(move, share)
    assert all(held <= slice_of(move, share) for held in piloted)
    assert next(held for stage, held in stages if stage == "index" and held) > piloted[-1]
    assert any(note.startswith(f"pilot passed: {len(piloted[-1])} documents are in it") for note in result.notes)
    assert plan.totals.texts_to_embed == result.embedded_texts
    assert_same(move.contents(2), clean(worlds, NEW, *DOCUMENTS))
    assert not any(step.action == "evaluate" for step in move.index.plan().steps)


def test_a_pilot_of_a_bad_model_stops_the_build(worlds: Worlds) -> None:
    """A model that gives every text one vector is found out on the slice; the rest is not paid for."""
    move = started(worlds)
    move.to(Flattening(64, 9), migration=Migration(pilot=0.5))
    before = len(move.sent())
    with pytest.raises(
        GateNotMet, match=r"the pilot of generation 2 .* says hold: .* different texts have only 1 "
    ) as told:
        move.index.apply()
    assert "regen gc --retire 2" in str(told.value)
    assert move.states() == {1: "live", 2: "building"}
    assert placed(move, 2) == slice_of(move, 0.5)
    held = len(move.contents(2))
    assert len(move.sent()) - before <= held
    with pytest.raises(GateNotMet):
        move.index.apply()
    assert len(move.contents(2)) == held
    assert move.index.search("river")[0].generation == 1
    move.to(migration=None)
    move.index.apply()
    assert move.states() == {1: "live", 2: "ready"}


def test_who_judges_a_pilot_is_asked_and_obeyed(worlds: Worlds) -> None:
    """A judge of quality sees the generation and its share; what it says against it is the reason."""
    from regen.engine.building import Builder
    from regen.engine.pilot import PilotVerdict

    move, asked = started(worlds), []
    move.to(NEW, migration=Migration(pilot=0.3))

    def judge(generation: Any, share: float) -> PilotVerdict:
        asked.append((generation.number, share, len(move.contents(2)) > 0))
        return PilotVerdict(len(asked) > 1, ("answers are worse",))

    move.index._builder = Builder(move.index._writer, Migration(pilot=0.3), judge)
    with pytest.raises(GateNotMet, match="answers are worse"):
        move.index.apply()
    result = move.index.apply()
    assert asked == [(2, 0.3, True)] * 2
    assert any("pilot passed" in note for note in result.notes)
    assert move.states()[2] == "ready"


def test_a_pilot_counts_dead_letters_as_done(worlds: Worlds) -> None:
    """A document that the model refuses holds a pilot no more up than the rest; if it refuses all, it does."""
    move = started(worlds)
    odd = min(slice_of(move, 0.5))
    move.world.put(Document(odd, "Utterly odd."))
    move.to(NEW, migration=Migration(pilot=0.5), limits=Limits(batch_documents=2, retry_attempts=1))
    move.models[NEW.info.name].plan = lambda _call, texts: (
        ValueError("too odd") if any("odd" in text for text in texts) else None
    )
    result = move.index.apply()
    assert result.documents.failed == 1
    assert any("1 more could not be processed" in note for note in result.notes)


# ── bulk ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bulk_ends_with_upkeep_and_the_switch(lance_worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """A maintenance window: no passes, large batches, all of the upkeep, then the gate and the switch; as planned."""
    move = started(lance_worlds)
    limits, tended = [], []
    move.to(NEW, migration=Migration("bulk", throttle=2.0))
    catalog, store = move.index._catalog, move.index._store
    assert isinstance(store, MaintainedStore)
    behind, maintain = catalog.behind, store.maintain

    def counted(number: int, **asked: Any) -> Any:
        if number == 2:
            limits.append((asked["limit"], asked["cut"]))
        return behind(number, **asked)

    def noted(collection: str, *, force: bool = False) -> list[str]:
        tended.append((collection, force))
        return maintain(collection, force=force)

    plan = move.index.plan()
    assert (plan.strategy, plan.strategy_reason.split(",")[0]) == ("bulk", "as configured")
    assert [step.action for step in plan.steps] == ["create_generation", "embed_chunks", "build_index", "promote"]
    monkeypatch.setattr(catalog, "behind", counted)
    monkeypatch.setattr(store, "maintain", noted)
    move.index.apply(plan)
    assert move.states() == {1: "retained", 2: "live"}
    assert {limit for limit, _ in limits} == {8}
    assert {cut for _, cut in limits} == {None}
    assert (move.generation(2).collection, True) in tended
    assert move.index.switches()[0].reason == "strategy bulk ends with the switch"


def test_a_refused_bulk_leaves_the_generation_ready(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the gate says no, all is built and waits; the live one goes on answering."""
    from regen.quality.gating import QualitySide

    def refuse(*_given: Any, **_named: Any) -> None:
        raise GateNotMet("answers are worse")

    move = started(worlds)
    move.to(NEW, migration=Migration("bulk"))
    monkeypatch.setattr(QualitySide, "approve", refuse)
    with pytest.raises(GateNotMet, match="answers are worse"):
        move.index.apply()
    assert move.states() == {1: "live", 2: "ready"}
    assert [step.action for step in move.index.plan().steps] == ["promote"]


def test_auto_is_rebuild_and_says_why(worlds: Worlds) -> None:
    """Without a choice the generation is built beside the live one, by priority, and the plan says why."""
    move = started(worlds)
    move.to(NEW)
    plan = move.index.plan()
    assert plan.strategy == "rebuild"
    assert plan.strategy_reason.startswith("auto: a generation of its own beside the live one")
    move.to(NEW, migration=Migration("rebuild"))
    assert move.index.plan().strategy_reason.startswith("a generation of its own beside the live one")


# ── budget ──────────────────────────────────────────────────────────────────────────────────────────────────


class Priced(HashingEmbedder):
    """A model that has a price of its own, whichever generation uses it."""

    @property
    def info(self) -> ModelInfo:
        """A tenth of a cent a token."""
        return replace(super().info, price_per_million_tokens=1_000.0)


def one_chunk(number: int) -> Document:
    """A document of one short text of five tokens or so."""
    return Document(f"d{number}", f"river stone cloud number {number}")


def texts_sent(move: Move, model: Embedder) -> list[str]:
    """What a model was sent, probe texts left out."""
    calls = move.models[model.info.name].calls
    return [text for call in calls for text in call if text not in probes.TEXTS]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_budget_covers_a_build_however_often_it_is_begun(worlds: Worlds, concurrency: int) -> None:
    """Stopped by its budget and begun again, a build sends no text more; with more money it sends just the rest."""
    move = started(worlds, *(one_chunk(number) for number in range(40)))
    limits = Limits(batch_documents=4, concurrency=concurrency)
    move.to(NEW, embedding=PRICE)
    price = move.index.plan().totals.cost_usd
    move.to(limits=replace(limits, budget_usd=price / 2))
    for _ in range(3):
        with pytest.raises(BudgetExceeded, match="pass the budget"):
            move.index.apply()
        sent = texts_sent(move, NEW)
        assert 0 < len(sent) <= 20
        assert move.index._catalog.spent_on(2) <= price / 2
    assert len(texts_sent(move, NEW)) == len(sent) == len(set(sent))
    move.to(limits=replace(limits, budget_usd=price))
    move.index.apply()
    assert len(texts_sent(move, NEW)) == len(set(texts_sent(move, NEW))) == 40
    assert move.index._catalog.spent_on(2) == pytest.approx(price)
    assert move.states() == {1: "live", 2: "ready"}


def test_money_is_on_the_account_before_the_provider_is_asked(worlds: Worlds) -> None:
    """A process that dies in the middle of a call leaves its price behind: a second life cannot spend it again."""
    move = started(worlds, *(one_chunk(number) for number in range(10)))
    move.to(NEW, embedding=PRICE, limits=Limits(batch_documents=2))
    catalog, seen = move.index._catalog, []
    move.models[NEW.info.name].plan = lambda _call, texts: seen.append(
        (len(texts), catalog.spent_on(2)) if not set(texts) <= set(probes.TEXTS) else (0, 0.0)
    )
    result = move.index.apply()
    paid = [spent for texts, spent in seen if texts]
    assert len(paid) == 5
    assert paid == sorted(paid)
    assert paid[0] > 0
    assert paid[-1] == catalog.spent_on(2) == pytest.approx(result.cost_usd)


@pytest.mark.parametrize("budget", [0.5, 0.75])
def test_a_sync_has_one_budget_for_all_generations(worlds: Worlds, budget: float) -> None:
    """Two generations that follow the same edits share what a run may spend."""
    world = worlds(one_chunk(0), embedder=Priced(32), limits=SMALL_BATCHES)
    move = Move(world)
    move.index.sync()
    move.to(Priced(64, 7))
    move.index.apply()
    assert move.states() == {1: "live", 2: "ready"}
    catalog = move.index._catalog
    before = {number: catalog.spent_on(number) for number in (1, 2)}
    world.put(*(one_chunk(number) for number in range(1, 21)))
    price = move.index.plan().totals.cost_usd
    move.to(limits=Limits(batch_documents=2, budget_usd=price * budget))
    with pytest.raises(BudgetExceeded):
        move.index.sync()
    spent = [move.index._catalog.spent_on(number) - before[number] for number in (1, 2)]
    assert price * (budget - 0.1) < sum(spent) <= price * budget + 1e-9
    move.to(limits=SMALL_BATCHES)
    move.index.sync()
    spent = [move.index._catalog.spent_on(number) - before[number] for number in (1, 2)]
    assert spent == pytest.approx([price / 2, price / 2])


def test_an_older_generation_goes_on_costing_what_it_cost(lance_worlds: Worlds) -> None:
    """A price that regen.yaml gave a model is remembered with the generation, when the file names another one."""
    move = started(lance_worlds, one_chunk(0), embedding=PRICE)
    move.models.clear()
    move.to(NEW, embedding={})
    move.models.pop(OLD.info.name, None)
    move.index.apply()
    catalog = move.index._catalog
    before = catalog.spent_on(1)
    move.world.put(one_chunk(1))
    assert move.index.plan().totals.cost_usd > 0
    result = move.index.sync()
    assert catalog.spent_on(1) - before == pytest.approx(result.cost_usd)
    assert result.cost_usd > 0
    assert catalog.spent_on(2) == 0


def test_upkeep_pays_from_the_same_account(worlds: Worlds) -> None:
    """What a repair and a collection send to the model is told, kept, and stops at the budget."""
    move = started(worlds, *(one_chunk(number) for number in range(8)), embedding=PRICE)
    catalog, store = move.index._catalog, move.index._store
    before = catalog.total_cost()
    store.drop(move.generation(1).collection)
    move.to(limits=Limits(batch_documents=1, budget_usd=before / 2))
    with pytest.raises(BudgetExceeded):
        move.index.verify(repair=True)
    spent = catalog_cost(move) - before
    assert 0 < spent <= before / 2
    move.to(limits=SMALL_BATCHES)
    report = move.index.verify(repair=True)
    assert report.consistent
    assert report.embedded_texts > 0
    assert report.cost_usd == pytest.approx(catalog_cost(move) - before - spent)
    move.index._catalog.demand_rewrite(1, ["d3"])
    move.index._store.drop(move.generation(1).collection)
    move.index._writer.prepare_collection(move.generation(1))
    earlier = catalog_cost(move)
    collected = move.index.gc()
    assert collected.embedded_texts == 1
    assert collected.cost_usd == pytest.approx(catalog_cost(move) - earlier) != 0
    assert move.index.gc().embedded_texts == 0


def catalog_cost(move: Move) -> float:
    """All that is on the account."""
    return move.index._catalog.total_cost()


# ── what nobody asks for any more ───────────────────────────────────────────────────────────────────────────


def test_a_half_built_generation_of_an_abandoned_recipe_is_given_up(worlds: Worlds) -> None:
    """The next apply says that it lies there; gc gives it up, after its time or at once; never the wanted one."""
    move = started(worlds)
    half_paid(move)
    assert move.index.gc().retired == []
    assert move.index.gc(now=True).retired == [], "the configuration asks for it"
    move.to(HashingEmbedder(48, 3))
    result = move.index.apply()
    assert any("generation 2 is half built for a recipe that is not asked for" in note for note in result.notes)
    assert move.states() == {1: "live", 2: "building", 3: "ready"}
    assert move.index.gc().retired == [], "it may be asked for again within migration.retain"
    report = move.index.gc(now=True)
    assert report.retired == [2]
    assert move.states() == {1: "live", 2: "aborted", 3: "ready"}
    assert not [note for note in move.index.status().notes if "half built" in note]
    assert move.generation(2).collection not in move.index._store.collections()


def test_gc_gives_an_abandoned_one_up_after_its_time(worlds: Worlds) -> None:
    """``migration.retain`` counts for what was half built too."""
    move = started(worlds)
    half_paid(move)
    move.to(OLD, limits=Limits(retain=0.0))
    assert move.index.gc().retired == [2]
    assert move.states() == {1: "live", 2: "aborted"}


def test_gc_leaves_alone_what_somebody_is_building(worlds: Worlds) -> None:
    """Another program with another regen.yaml may be at work on it: its lease says so."""
    move = started(worlds)
    half_paid(move)
    move.to(OLD, limits=Limits(lease_wait=0.1))
    name = move.index._writer.right(move.generation(2))
    lease = move.index._catalog.acquire(name, "elsewhere:1:abc", at=time.time(), seconds=60.0)
    move.index._writer.abandon(report := regen.core.results.GcReport(), now=True)
    assert report.retired == []
    move.index._catalog.release(lease)
    move.index._writer.abandon(report, now=True)
    assert report.retired == [2]
