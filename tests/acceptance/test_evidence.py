"""What a plan measures before anything is built, writing nothing: probe texts, neighbours, losses, evaluations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Worlds
from tests.acceptance.generations import Move, clean, contents, document, without_runs

from regen import Chunking
from regen.core.plan import Plan
from regen.core.recipe import Precision
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.engine import probes
from regen.errors import ModelChanged, StoreError
from regen.index import Index
from regen.ports import CollectionSpec, Embedder, ModelInfo, SizedStore, Vectors
from regen.spaces.derive import neighbour_overlap, quantize
from regen.spaces.vectors import normalize
from regen.stores.lancedb import LanceStore

DOCUMENTS = tuple(document(number) for number in range(12))
SETTINGS: dict[str, Any] = {"chunking": Chunking("sentences", 16)}


class Renamed(HashingEmbedder):
    """A hashing model under a name, revision and place of one's choice; ``bend`` makes its vectors others."""

    def __init__(self, name: str, *, revision: str = "new", local: bool = True, bend: float = 0.0) -> None:
        super().__init__(64)
        self._told = replace(super().info, name=name, revision=revision, local=local, family=name)
        self.bend = bend
        self.broken = False

    @property
    def info(self) -> ModelInfo:
        """What it says of itself."""
        return self._told

    def embed_documents(self, texts: Any) -> Vectors:
        """As the model that it is, perhaps bent."""
        if self.broken:
            raise RuntimeError("the server is on fire")
        vectors = super().embed_documents(texts)
        return vectors + self.bend * np.roll(vectors, 1, axis=1) if self.bend else vectors


def started(worlds: Worlds, embedder: Embedder | None = None, **settings: Any) -> Move:
    """A world with a live generation of a dozen documents."""
    move = Move(worlds(*DOCUMENTS, embedder=embedder or HashingEmbedder(64), **SETTINGS | settings))
    move.index.sync()
    return move


def planned(move: Move, sample: int | None, asked: int) -> Plan:
    """A plan that measures; it writes nothing and sends the models exactly so many texts beside the probe texts."""
    before, sent = move.world.dump(), len(move.sent())
    plan = move.index.plan(sample=sample)
    assert move.world.dump() == before
    assert len(move.sent()) - sent == asked
    return plan


def grounds(plan: Plan) -> str:
    """The grounds of the answer, as one text."""
    assert plan.decision is not None
    return "\n".join(plan.decision.grounds)


def probes_sent(move: Move) -> int:
    """How many calls of probe texts the models have had."""
    return sum(call[0].endswith(probes.TEXTS[0]) for model in move.models.values() for call in model.calls)


def test_another_model_is_asked_for_a_sample(worlds: Worlds) -> None:
    """A local model is sent the probe texts and a sample; the answer stays, its grounds say what will move."""
    move = started(worlds)
    move.to(HashingEmbedder(64, 7))
    plan = planned(move, 30, asked=30)
    assert plan.decision is not None
    assert plan.decision.must_embed == "always"
    assert "still gives the vectors that it gave (lowest cosine 1.0000)" in grounds(plan)
    assert "the wanted model gives other vectors" in grounds(plan)
    assert "of the 7 nearest neighbours stay (30 texts embedded)" in grounds(plan)
    assert "texts embedded" in grounds(planned(move, None, asked=45))


def test_nothing_is_asked_unless_allowed(worlds: Worlds) -> None:
    """Without a sample no model is sent anything, not even a probe text, and nothing is claimed of it."""
    move = started(worlds)
    move.to(HashingEmbedder(64, 7))
    before = probes_sent(move)
    plan = planned(move, 0, asked=0)
    assert probes_sent(move) == before
    assert "probe" not in grounds(plan)
    assert "neighbours" not in grounds(plan)
    assert plan.does_the_same_as(move.index.plan(sample=20))


@pytest.mark.parametrize("priced", [True, False])
def test_what_may_cost_is_asked_on_request_only(worlds: Worlds, *, priced: bool) -> None:
    """A model with a price, or elsewhere, is not asked by itself; the plan says what asking would cost."""
    move = started(worlds)
    price = {"price_per_million_tokens": 10.0} if priced else {}
    move.to(Renamed("elsewhere", local=priced, bend=0.9), embedding=price)
    before = probes_sent(move)
    plan = planned(move, None, asked=0)
    assert probes_sent(move) == before
    assert "elsewhere was not asked, for it may cost something" in grounds(plan)
    cost = "$0.0073" if priced else "no price is set"
    assert f"`regen plan --sample 45` sends it 53 texts (about 730 tokens, {cost})" in grounds(plan)
    agreed = planned(move, 25, asked=25)
    assert "25 texts embedded" in grounds(agreed)
    assert probes_sent(move) > before


def test_a_model_under_another_name(worlds: Worlds) -> None:
    """Equal probe vectors under another name: cannot tell, a hint how to declare it, and then not a single text."""
    move = started(worlds)
    wanted = clean(worlds, HashingEmbedder(64), *DOCUMENTS, **SETTINGS)
    name = move.world.embedder.info.name
    move.to(Renamed("moved"))
    plan = planned(move, 20, asked=20)
    assert plan.decision is not None
    assert plan.decision.must_embed == "cannot tell"
    assert f"same_as: {name}" in plan.decision.cheaper[0]
    move.to(embedding={"same_as": name})
    plan, result = move.step()
    assert plan.decision is not None
    assert (plan.decision.must_embed, plan.decision.path) == ("not needed", "derive")
    assert "declared to be the same" in grounds(plan)
    assert result.embedded_texts == 0
    assert contents(move.index, 2).keys() == wanted.keys()
    move.index.promote()
    move.world.put(document(40))
    assert move.index.sync().embedded_texts == len(clean(worlds, HashingEmbedder(64), document(40), **SETTINGS))
    assert move.index.plan().empty


def test_a_false_declaration_is_refused(worlds: Worlds) -> None:
    """A model that is declared the same and is not stops the build before anything is written."""
    move = started(worlds)
    move.to(Renamed("moved", bend=0.9), embedding={"same_as": move.world.embedder.info.name})
    before = move.world.dump()
    with pytest.raises(ModelChanged):
        move.index.apply()
    assert move.states() == {1: "live"}
    assert without_runs(move.world.dump()) == without_runs(before)


def test_a_model_changed_behind_its_name(worlds: Worlds) -> None:
    """The live model gives other vectors than it gave: whatever is asked for, every text must be embedded again."""
    model = Renamed("sly")
    move = started(worlds, model)
    move.to(metric="dot")
    assert "still gives" in grounds(planned(move, 20, asked=0))
    model.bend = 0.9
    plan = planned(move, 20, asked=0)
    assert plan.decision is not None
    assert (plan.decision.must_embed, plan.decision.path) == ("always", "copy")
    assert "ModelChanged" in grounds(plan)
    with pytest.raises(ModelChanged):
        move.index.apply(plan)


def test_a_broken_model_keeps_nobody_from_planning(worlds: Worlds) -> None:
    """What could not be measured is said, the plan is there."""
    move = started(worlds)
    broken = Renamed("broken")
    move.to(broken)
    broken.broken = True
    plan = move.index.plan(sample=20)
    assert "not everything could be measured: RuntimeError: the server is on fire" in grounds(plan)
    assert plan.totals.texts_to_embed > 0


@pytest.mark.parametrize("precision", ["float16", "int8", "binary"])
def test_what_a_precision_loses_is_measured(worlds: Worlds, precision: Precision) -> None:
    """The share of neighbours that stay is that of the real vectors, and the bytes are the store's."""
    move = started(worlds, WordLlamaEmbedder(64))
    move.to(embedding={"precision": precision})
    text = grounds(planned(move, 0, asked=0))
    assert f"{precision}: " in text
    share = float(text.split(f"{precision}: ")[1].split("%")[0])
    held = np.stack(list({point[0]: point[3] for point in move.contents(1).values()}.values()))
    expected = neighbour_overlap(held, quantize(held, precision), min(10, len(held) // 4), queries=held)
    assert share == pytest.approx(100 * expected, abs=0.06)
    assert (share == 100) == (precision == "float16")
    per_vector = {"float16": 128, "int8": 128 if move.world.store == "lancedb" else 64, "binary": 8}[precision]
    assert f"256 -> {per_vector} bytes a vector" in text


def test_fewer_dimensions_are_measured(worlds: Worlds) -> None:
    """The loss of a truncation is told before it is made."""
    move = started(worlds, WordLlamaEmbedder(128))
    move.to(WordLlamaEmbedder(64))
    text = grounds(planned(move, 0, asked=0))
    assert "64 dimensions: " in text
    assert "512 -> 256 bytes a vector (2x less)" in text
    held = np.stack([point[3] for point in move.contents(1).values()])
    wanted = float((normalize(held) * np.pad(normalize(held[:, :64]), ((0, 0), (0, 64)))).sum(axis=1).mean())
    told = float(text.split("mean cosine ")[1].split(" ")[0])
    assert told == pytest.approx(wanted, abs=0.02)


def test_too_few_texts_to_compare(worlds: Worlds) -> None:
    """A handful of texts has no neighbourhoods to speak of: that is said instead of a figure."""
    move = Move(worlds(document(1), embedder=HashingEmbedder(64), **SETTINGS))
    move.index.sync()
    move.to(HashingEmbedder(64, 7))
    assert "texts are too few" in grounds(planned(move, 50, asked=0))


COMPARISON = {
    "collection": "support", "slice": "all", "measure": "nDCG@10", "delta": 0.061, "ci_low": 0.02, "ci_high": 0.1,
    "queries": 120,
}  # fmt: skip


def test_a_kept_evaluation_is_quoted(worlds: Worlds) -> None:
    """What was measured of a generation with this recipe, given up or not, is a ground for building it again."""
    move = started(worlds)
    move.to(HashingEmbedder(64, 7))
    move.index.apply()
    others = [COMPARISON | {"slice": "tail", "delta": 9.0}, COMPARISON | {"measure": "R@100", "delta": 8.0}]
    move.index._catalog.record_evaluation(
        "default", 2, against=1, verdict="promote", fingerprint="x", head=1, at=1.0,
        result={"comparisons": [*others, COMPARISON]},
    )  # fmt: skip
    move.index.retire(2)
    plan = planned(move, 0, asked=0)
    text = "measured: nDCG@10 on support +0.0610 (+0.0200 to +0.1000, 120 queries), generation 2 against 1"
    assert text in grounds(plan)
    move.to(HashingEmbedder(64, 8))
    assert "measured" not in grounds(planned(move, 0, asked=0))


def test_a_full_disk_is_refused_before_anything_begins(tmp_path: Path) -> None:
    """A second generation that would not fit is told by the plan and refused by apply; searches go on."""
    free = [10**9]
    store = LanceStore(tmp_path / "v", free=lambda _: free[0])
    settings: dict[str, Any] = {"store": store, "catalog": "sqlite:///c.db", "root": tmp_path, **SETTINGS}
    with Index(embedder=HashingEmbedder(64), **settings) as index:
        index.upsert(DOCUMENTS)
    store = LanceStore(tmp_path / "v", free=lambda _: free[0])
    with Index(embedder=HashingEmbedder(32), **settings | {"store": store}) as index:
        notes = " ".join(index.plan().notes)
        assert "1.0 GB are free" in notes
        free[0] = 50_000
        assert "50 kB are free: too little, `apply` will refuse" in " ".join(index.plan().notes)
        index.upsert([document(90)])  # what is live needs no second generation
        with pytest.raises(StoreError, match="too little disk for a second generation") as caught:
            index.apply()
        assert "gc --retire" in str(caught.value)
        assert [item.state for item in index._catalog.generations()] == ["live"]
        assert len(store.collections()) == 1
        assert index.search("river", 3).hits
        free[0] = 10**9
        index.apply()
        assert [item.state for item in index._catalog.generations()] == ["live", "ready"]


def test_lower_precision_takes_less_disk(lance_worlds: Worlds) -> None:
    """The files of a binary generation are smaller by about what its vectors need less."""
    sizes = {}
    precisions: tuple[Precision, ...] = ("float32", "float16", "binary")
    for precision in precisions:
        world = lance_worlds(*DOCUMENTS, embedder=HashingEmbedder(2048), embedding={"precision": precision}, **SETTINGS)
        world.index.sync()
        sizes[precision] = sum(path.stat().st_size for path in (world.folder / "vectors").rglob("*") if path.is_file())
        count = len(contents(world.index, 1))
        spec = CollectionSpec(2048, precision=precision)
        store = world.index._store
        assert isinstance(store, SizedStore)
        sizes[precision] -= round(count * store.vector_bytes(spec, count))
    rest = sizes["float32"]
    assert all(abs(size - rest) < 0.1 * count * 2048 for size in sizes.values())


def test_a_build_that_only_has_to_be_called_ready(worlds: Worlds) -> None:
    """Killed between its last write and the word that it is ready, a build still has a step, and is done by it."""
    move = started(worlds)
    move.to(HashingEmbedder(64, 7))
    mark = move.index._catalog.mark_ready

    def killed(*_: Any, **__: Any) -> bool:
        raise KeyboardInterrupt

    move.index._catalog.mark_ready = killed  # type: ignore[attr-defined, method-assign, unused-ignore]
    with pytest.raises(KeyboardInterrupt):
        move.index.apply()
    move.index._catalog.mark_ready = mark  # type: ignore[attr-defined, method-assign, unused-ignore]
    assert move.states() == {1: "live", 2: "building"}
    plan, _ = move.step()
    assert [step.action for step in plan.steps] == ["build_index"]
    assert move.states() == {1: "live", 2: "ready"}


def test_the_stores_of_a_move_are_named(tmp_path: Path) -> None:
    """A moved index tells from where to where, and that no text is embedded for it."""
    model, settings = HashingEmbedder(64), {"catalog": "sqlite:///c.db", "root": tmp_path, **SETTINGS}
    with Index(embedder=model, store=f"memory://{tmp_path}/a", **settings) as index:
        index.upsert(DOCUMENTS)
    with Index(embedder=model, store=f"memory://{tmp_path}/b", **settings) as index:
        plan = index.plan(sample=None)
    assert plan.decision is not None
    assert (plan.decision.must_embed, plan.decision.path, plan.totals.texts_to_embed) == ("not needed", "copy", 0)
    assert f"store memory://{tmp_path}/a -> memory://{tmp_path}/b" in grounds(plan)


def test_time_is_estimated_by_the_rate_of_copying(worlds: Worlds) -> None:
    """Once a build has copied vectors, the next one's time is its chunks by the rate measured."""
    move = started(worlds)
    move.to(metric="dot")
    plan = move.index.plan()
    assert plan.totals.seconds == 0
    move.index.apply(plan)
    move.to(metric="l2")
    rate = move.index._catalog.copy_rate()
    assert rate is not None
    (step,) = (step for step in move.index.plan().steps if step.action == "copy_vectors")
    assert step.seconds == pytest.approx(step.chunks / rate, abs=0.001)


def test_each_document_is_counted_once(worlds: Worlds) -> None:
    """Edited, created and deleted documents beside a migration that copies some texts and embeds others."""
    move = started(worlds)
    move.world.put(document(3, 2), document(50), document(51))
    del move.world.source.documents["d5"]
    move.to(chunking=Chunking("sentences", 32))
    plan = move.index.plan()
    counts = {step.action: step.documents for step in plan.steps}
    assert counts["replace_documents"] == counts["delete_documents"] == 1
    assert counts["place_documents"] == 2
    assert plan.totals.documents == len(DOCUMENTS) + 2
    assert counts.get("copy_vectors", 0) + counts["embed_chunks"] == len(DOCUMENTS) - 2
