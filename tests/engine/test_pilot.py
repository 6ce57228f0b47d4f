"""What every slice must pass before the rest is built, each fault put in on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import regen
from regen import Document
from regen.core.chunks import point_id, unpack
from regen.core.priority import in_slice, pilot_cut
from regen.embedders.hashing import HashingEmbedder
from regen.engine.pilot import PilotVerdict, check_pilot
from regen.index import Index
from regen.ports import Embedder, StoreHit
from regen.ports.catalog import Generation
from regen.stores.memory import MemoryStore

CUT = pilot_cut(0.4)


class Turned(MemoryStore):
    """A store whose search, when told so, gives the worst of its hits first."""

    turned = False

    def search(self, *args: Any, **options: Any) -> list[StoreHit]:
        """As any store, or the other way round."""
        found = super().search(*args, **options)
        return found[::-1] if self.turned else found


@pytest.fixture
def index() -> Iterator[Index]:
    """Thirty documents, all in one generation."""
    with regen.Index(embedder=HashingEmbedder(32), store=Turned(), catalog="sqlite://") as made:
        made.upsert([Document(f"d{number}", f"page {number} is about topic {number * 7}") for number in range(30)])
        yield made


def generation(index: Index) -> Generation:
    """The only one."""
    return index._catalog.generations()[0]


def judged(index: Index, embedder: Embedder | None = None) -> PilotVerdict:
    """The verdict on it."""
    return check_pilot(
        generation(index), CUT, index._catalog.head(), index._catalog, index._store, embedder or HashingEmbedder(32)
    )


def drawn(index: Index, *, inside: bool) -> str:
    """The id of a document that is in the slice, or of one that is not."""
    known = index._catalog.known([f"d{number}" for number in range(30)])
    return next(name for name, one in known.items() if in_slice(one.doc_key, CUT.below) is inside)


def points(index: Index) -> dict[str, str]:
    """Each document's first point."""
    return {
        facts.doc_id: point_id(*unpack(placement.chunks)[0])
        for page in index._catalog.placements(1)
        for facts, placement in page
    }


def test_a_sound_slice_passes(index: Index) -> None:
    """The reasons count what was looked at."""
    assert judged(index) == PilotVerdict(
        True, ("30 documents are in it; 30 of their chunks, looked for by their own vectors, came first",)
    )


def test_a_document_of_the_slice_that_is_not_in_it(index: Index) -> None:
    """One that waits inside the slice is held against it; one outside, or newer than the slice, is not."""
    index._catalog.demand_rewrite(1, [drawn(index, inside=False)])
    assert judged(index).passed
    missing = drawn(index, inside=True)
    index._catalog.demand_rewrite(1, [missing])
    assert judged(index) == PilotVerdict(False, (f"{missing} of the slice is not in it yet",))
    early = check_pilot(generation(index), CUT, 0, index._catalog, index._store, HashingEmbedder(32))
    assert early.passed


def test_points_that_are_not_in_the_store(index: Index) -> None:
    """A store that lost what it was given is found out."""
    index._store.delete(generation(index).collection, [points(index)["d3"], points(index)["d4"]])
    assert judged(index) == PilotVerdict(False, ("2 of 30 chunks that were placed are not in the store",))


def test_chunks_that_do_not_find_themselves(index: Index) -> None:
    """A search that ranks wrongly is found out."""
    assert isinstance(index._store, Turned)
    index._store.turned = True
    verdict = judged(index)
    assert not verdict.passed
    assert "30 of 30 chunks do not come first when they are looked for by their own vectors" in verdict.reasons


def test_equal_texts_have_equal_vectors(index: Index) -> None:
    """Documents that say the same are equally first: no fault."""
    index.upsert([Document(f"twin{number}", "all the same") for number in range(40)])
    assert judged(index).passed


def test_another_model_behind_the_name(index: Index) -> None:
    """The probe vectors are compared once more when the slice is built."""
    verdict = judged(index, HashingEmbedder(32, 9))
    assert not verdict.passed
    assert "gives other vectors than when generation 1 was built" in verdict.reasons[0]


def test_an_empty_slice_passes_for_what_it_is() -> None:
    """Of few documents a small share may draw none."""
    with regen.Index(embedder=HashingEmbedder(32), store=Turned(), catalog="sqlite://") as index:
        index.upsert([])
        assert judged(index) == PilotVerdict(
            True, ("0 documents are in it; 0 of their chunks, looked for by their own vectors, came first",)
        )


def test_nothing_but_dead_letters(index: Index) -> None:
    """When no document at all could be processed the rest is not worth trying."""
    with regen.Index(embedder=HashingEmbedder(32), store=Turned(), catalog="sqlite://") as other:
        other.upsert([Document("d1", "\ud800")])
        other.upsert([Document("d2", "fine")])
        other._catalog.bury([regen.core.results.DeadLetter("d2", 1, other._catalog.head(), "too odd", 1, 0.0)])
        other.delete(["d2"])
        assert judged(other).passed
        other._catalog.bury([regen.core.results.DeadLetter("d3", 1, other._catalog.head(), "too odd", 1, 0.0)])
        assert judged(other) == PilotVerdict(
            False, ("none of its 1 documents could be processed: `regen status` tells why",)
        )


def test_verdicts_add_up() -> None:
    """Both must pass; of one that does not only its own reasons are told."""
    good, bad = PilotVerdict(True, ("a",)), PilotVerdict(False, ("b",))
    assert good.plus(PilotVerdict(True, ("c",))) == PilotVerdict(True, ("a", "c"))
    assert good.plus(bad) == bad
    assert not bad.plus(good).passed
