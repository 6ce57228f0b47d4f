"""Catalog cases: ranges that several processes claim, who embeds which text, and the workers' heart-beats."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from regen.core.documents import Document
from regen.errors import BudgetExceeded, LeaseLost
from regen.ports.catalog import Catalog, Cost, Generation
from regen.ports.placements import Range
from regen.ports.workers import WorkerRecord
from regen.testing.catalog_cases import (
    ALIAS,
    ME,
    OTHER,
    CatalogHooks,
    behind,
    chunk_of,
    key_of,
    keys_of,
    letter,
    log,
    make_generation,
    numbered,
    placement_of,
)

WHOLE: Final = "generation 1 of handbook"
THIRD: Final = "host:3:third"


def laid_out(catalog: Catalog, count: int = 10, size: int = 4) -> Generation:
    """Log so many documents, and lay them out in ranges of a new generation."""
    log(catalog, *numbered(count))
    generation = make_generation(catalog)
    catalog.lay_out(generation.number, WHOLE, size=size, count=100)
    return generation


def claim(catalog: Catalog, generation: Generation, owner: str = ME, at: float = 0.0, **more: list[str]) -> Range:
    """Take the next range, which must be there."""
    found = catalog.claim_range(generation.number, WHOLE, owner, at=at, seconds=30.0, **more)
    assert found is not None
    return found


def place(catalog: Catalog, held: Range, *, but: frozenset[str] = frozenset()) -> set[int]:
    """Bring what is behind in a range in step, but for some documents; the committed keys."""
    works = [
        work for work in behind(catalog, held.generation, after=held.above, upto=held.upto) if work.doc_id not in but
    ]
    token = catalog.begin_write(held.generation, b"", held, at=1.0)
    placements = [placement_of(work, token) for work in works]
    return catalog.commit_write(held.generation, token, placements, held, at=2.0)


def watermark(catalog: Catalog, generation: Generation) -> int:
    """Up to where a generation is said to be in step, after ranges have been laid out anew."""
    return catalog.lay_out(generation.number, WHOLE, size=4, count=0).watermark


class RangeCases(CatalogHooks):
    """``lay_out``, ``claim_range``, ``clear_ranges``, and what they fence."""

    def test_what_is_behind_is_laid_out(self, catalog: Catalog) -> None:
        """By number of documents, in the log's order, as many ranges as are wanted, and nothing twice."""
        log(catalog, *numbered(10))
        number = make_generation(catalog).number
        laid = catalog.lay_out(number, WHOLE, size=4, count=2)
        assert (laid.free, laid.held, laid.watermark, laid.head, laid.behind) == (2, 0, 0, 10, True)
        assert [(item.above, item.upto, item.owner) for item in catalog.ranges(number)] == [(0, 4, ""), (4, 8, "")]
        assert catalog.lay_out(number, WHOLE, size=4, count=100).free == 3
        assert catalog.lay_out(number, WHOLE, size=4, count=100).free == 3
        assert [(item.above, item.upto) for item in catalog.ranges(number)] == [(0, 4), (4, 8), (8, 10)]
        assert catalog.leases() == []  # nobody holds any of them

    def test_no_further_than_wanted(self, catalog: Catalog) -> None:
        """With an end, only what was logged up to it."""
        log(catalog, *numbered(10))
        number = make_generation(catalog).number
        laid = catalog.lay_out(number, WHOLE, size=4, count=100, upto=6)
        assert (laid.free, laid.head) == (2, 6)
        assert [(item.above, item.upto) for item in catalog.ranges(number)] == [(0, 4), (4, 6)]

    def test_each_range_has_one_holder(self, catalog: Catalog) -> None:
        """Who comes next takes the next; when all are taken there is none."""
        generation = laid_out(catalog)
        taken = [claim(catalog, generation, owner) for owner in (ME, OTHER, ME)]
        assert [(item.above, item.upto, item.owner) for item in taken] == [(0, 4, ME), (4, 8, OTHER), (8, 10, ME)]
        assert len({item.token for item in taken}) == 3
        assert catalog.claim_range(generation.number, WHOLE, THIRD, at=1.0, seconds=30.0) is None
        assert {item.owner for item in catalog.leases()} == {ME, OTHER}

    def test_many_claim_at_once(self, catalog: Catalog, second: Catalog) -> None:
        """Two handles, eight threads: each range is given once."""
        generation = laid_out(catalog, 200, 2)

        def take(turn: int) -> list[int]:
            mine, one = [], (catalog, second)[turn % 2]
            while found := one.claim_range(generation.number, WHOLE, f"host:{turn}:x", at=0.0, seconds=30.0):
                mine.append(found.above)
            return mine

        with ThreadPoolExecutor(8) as pool:
            taken = sorted(above for mine in pool.map(take, range(8)) for above in mine)
        # Who skipped a range that another one was just looking at may have stopped too early: all the same, none twice.
        assert len(taken) == len(set(taken))
        while found := catalog.claim_range(generation.number, WHOLE, ME, at=0.0, seconds=30.0):
            taken.append(found.above)
        assert sorted(taken) == list(range(0, 200, 2))

    def test_an_expired_range_is_taken_over(self, catalog: Catalog) -> None:
        """With a new token: the old holder can commit, write and renew nothing more; before that, nobody can."""
        generation = laid_out(catalog, 4)
        held = claim(catalog, generation)
        works = behind(catalog, generation.number)
        token = catalog.begin_write(generation.number, chunk_of("d0", works[0].text), held, at=1.0)
        assert catalog.claim_range(generation.number, WHOLE, OTHER, at=29.0, seconds=30.0) is None
        new = claim(catalog, generation, OTHER, at=31.0)
        assert (new.above, new.upto) == (held.above, held.upto)
        assert new.token > held.token
        for call in (
            lambda: catalog.commit_write(generation.number, token, [placement_of(works[0], token)], held, at=32.0),
            lambda: catalog.begin_write(generation.number, b"", held, at=32.0),
            lambda: catalog.reserve_texts(held, [1], at=1.0),
            lambda: catalog.renew(held, at=32.0, seconds=30.0),
        ):
            with pytest.raises(LeaseLost):
                call()
        assert catalog.placed(generation.number, ["d0"]) == {}
        catalog.release(held)  # not ours any more: does nothing
        assert place(catalog, new) == {work.doc_key for work in works}

    def test_a_dead_holders_range_is_taken_over_at_once(self, catalog: Catalog) -> None:
        """When its death is known there is no waiting for its lease."""
        generation = laid_out(catalog, 4)
        claim(catalog, generation)
        assert catalog.claim_range(generation.number, WHOLE, OTHER, at=1.0, seconds=30.0, dead=[THIRD]) is None
        assert claim(catalog, generation, OTHER, at=1.0, dead=[ME]).owner == OTHER

    def test_a_renewed_range_stays(self, catalog: Catalog) -> None:
        """As the range that it is."""
        generation = laid_out(catalog, 4)
        held = claim(catalog, generation)
        renewed = catalog.renew(held, at=25.0, seconds=30.0)
        assert isinstance(renewed, Range)
        assert (renewed.upto, renewed.expires_at, renewed.token) == (held.upto, 55.0, held.token)
        assert catalog.claim_range(generation.number, WHOLE, OTHER, at=40.0, seconds=30.0) is None

    def test_the_watermark_waits_for_every_range_below(self, catalog: Catalog) -> None:
        """A range in work holds it up; what its holder left out, too, and that is laid out anew."""
        generation = laid_out(catalog)
        first, second, third = (claim(catalog, generation) for _ in range(3))
        for held in (third, second):
            place(catalog, held)
            catalog.release(held)
        assert watermark(catalog, generation) == 0
        place(catalog, first, but=frozenset({"d2"}))
        assert watermark(catalog, generation) == 0
        catalog.release(first)
        assert watermark(catalog, generation) == 2
        assert catalog.lay_out(generation.number, WHOLE, size=4, count=9).free == 1
        again = claim(catalog, generation)
        assert keys_of(behind(catalog, generation.number, after=again.above, upto=again.upto)) == ["d2"]
        place(catalog, again)
        catalog.release(again)
        laid = catalog.lay_out(generation.number, WHOLE, size=4, count=9)
        assert (laid.watermark, laid.free, laid.behind) == (10, 0, False)

    def test_dead_letters_do_not_hold_the_watermark_up(self, catalog: Catalog) -> None:
        """What could not be processed is told elsewhere."""
        log(catalog, *numbered(2))
        generation = make_generation(catalog)
        catalog.bury([letter("d0", generation.number, 1)])
        assert watermark(catalog, generation) == 1

    def test_what_is_marked_below_is_found_again(self, catalog: Catalog) -> None:
        """While a range is in work, documents that were in step are asked for anew: none is overlooked."""
        generation = laid_out(catalog, 12, 4)
        first, second = claim(catalog, generation), claim(catalog, generation)
        place(catalog, first)
        catalog.release(first)
        assert watermark(catalog, generation) == 4
        assert catalog.demand_rewrite(generation.number, ["d1"]) == 1
        place(catalog, second)
        catalog.release(second)
        assert watermark(catalog, generation) == 1
        catalog.lay_out(generation.number, WHOLE, size=4, count=9)
        assert [(item.above, item.upto) for item in catalog.ranges(generation.number)] == [(1, 2), (8, 12)]

    def test_edits_leave_their_range(self, catalog: Catalog) -> None:
        """A document that is edited meanwhile is not committed there, and waits beyond the ranges."""
        generation = laid_out(catalog, 4)
        held = claim(catalog, generation)
        works = behind(catalog, generation.number)
        log(catalog, Document("d1", "edited"))
        catalog.tombstone(["d3"], at=3.0)
        token = catalog.begin_write(generation.number, b"", held, at=1.0)
        done = catalog.commit_write(
            generation.number, token, [placement_of(work, token) for work in works], held, at=2.0
        )
        assert done == {works[0].doc_key, works[2].doc_key}
        catalog.release(held)
        assert catalog.lay_out(generation.number, WHOLE, size=4, count=9).watermark == 4
        new = claim(catalog, generation)
        assert keys_of(behind(catalog, generation.number, after=new.above, upto=new.upto)) == ["d1"]

    def test_the_whole_excludes_ranges(self, catalog: Catalog) -> None:
        """While somebody has it, or waits for it, nobody claims; who holds a range keeps it until it is done."""
        generation = laid_out(catalog)
        held = claim(catalog, generation)
        whole = catalog.acquire(WHOLE, OTHER, at=1.0, seconds=30.0)
        assert catalog.claim_range(generation.number, WHOLE, THIRD, at=2.0, seconds=30.0) is None
        assert [item.token for item in catalog.clear_ranges(generation.number, whole, at=2.0)] == [held.token]
        assert place(catalog, held)
        catalog.release(held)
        assert catalog.clear_ranges(generation.number, whole, at=3.0) == []
        assert catalog.ranges(generation.number) == []
        catalog.release(whole)
        catalog.lay_out(generation.number, WHOLE, size=4, count=9)
        claim(catalog, generation, at=40.0)
        with pytest.raises(LeaseLost):
            catalog.clear_ranges(generation.number, whole, at=40.0)

    def test_the_whole_outlasts_the_dead(self, catalog: Catalog) -> None:
        """Ranges that have expired, or whose holders are dead, are forgotten by who takes it."""
        generation = laid_out(catalog)
        claim(catalog, generation, at=0.0)
        claim(catalog, generation, OTHER, at=20.0)
        whole = catalog.acquire(WHOLE, THIRD, at=35.0, seconds=30.0)
        assert [item.owner for item in catalog.clear_ranges(generation.number, whole, at=35.0)] == [OTHER]
        assert catalog.clear_ranges(generation.number, whole, at=36.0, dead=[OTHER]) == []

    def test_only_the_deads_intents_are_abandoned(self, catalog: Catalog) -> None:
        """What a living sibling is writing is not garbage; what one wrote that lost its range is."""
        generation = laid_out(catalog)
        dying, living = claim(catalog, generation), claim(catalog, generation, OTHER, at=10.0)
        catalog.begin_write(generation.number, b"x" * 32, dying, at=1.0)
        catalog.begin_write(generation.number, b"y" * 16, living, at=11.0)
        heir = claim(catalog, generation, THIRD, at=31.0)
        assert heir.above == dying.above
        assert catalog.abandon_writes(generation.number, heir, at=32.0) == 2
        assert catalog.abandon_writes(generation.number, heir, at=33.0) == 0
        catalog.release(living)
        assert catalog.abandon_writes(generation.number, heir, at=34.0) == 1

    def test_a_generation_that_is_given_up_has_no_ranges(self, catalog: Catalog) -> None:
        """Nor any text that somebody was to embed for it."""
        generation = laid_out(catalog)
        held = claim(catalog, generation)
        catalog.reserve_texts(held, [1], at=1.0)
        catalog.retire(generation.number, state="aborted")
        assert catalog.ranges(generation.number) == []
        with pytest.raises(LeaseLost):
            catalog.begin_write(generation.number, b"", held, at=1.0)


class TextCases(CatalogHooks):
    """``reserve_texts`` and ``free_texts``."""

    def test_one_embeds_a_text(self, catalog: Catalog) -> None:
        """Who came first; the others are told, and have it once it is given back."""
        generation = laid_out(catalog)
        mine, theirs = claim(catalog, generation), claim(catalog, generation, OTHER)
        assert catalog.reserve_texts(mine, [1, 2, 2], at=1.0) == set()
        assert catalog.reserve_texts(theirs, [2, 3], at=1.0) == {2}
        assert catalog.reserve_texts(mine, [3, 4], at=1.0) == {3}
        catalog.free_texts(mine, [2, 3])  # 3 is not ours to give
        assert catalog.reserve_texts(theirs, [2], at=1.0) == set()
        assert catalog.reserve_texts(mine, [1, 2, 3], at=1.0) == {2, 3}
        catalog.free_texts(theirs)
        assert catalog.reserve_texts(mine, [2, 3], at=1.0) == set()

    def test_generations_have_texts_of_their_own(self, catalog: Catalog) -> None:
        """Each has a space of its own."""
        generation = laid_out(catalog)
        other = make_generation(catalog)
        catalog.lay_out(other.number, "other", size=4, count=9)
        mine = claim(catalog, generation)
        theirs = catalog.claim_range(other.number, "other", OTHER, at=0.0, seconds=30.0)
        assert theirs is not None
        assert catalog.reserve_texts(mine, [1], at=1.0) == set()
        assert catalog.reserve_texts(theirs, [1], at=1.0) == set()

    def test_a_commit_frees_what_it_places(self, catalog: Catalog) -> None:
        """From then on others find the text in the generation."""
        generation = laid_out(catalog)
        mine, theirs = claim(catalog, generation), claim(catalog, generation, OTHER)
        key = key_of("text of 0")
        catalog.reserve_texts(mine, [key, 7], at=1.0)
        place(catalog, mine)
        assert catalog.reserve_texts(theirs, [key, 7], at=1.0) == {7}

    def test_the_dead_embed_nothing(self, catalog: Catalog) -> None:
        """A range that is given back, or taken over, gives back its texts."""
        generation = laid_out(catalog)
        mine, theirs = claim(catalog, generation), claim(catalog, generation, OTHER, at=10.0)
        catalog.reserve_texts(mine, [1], at=1.0)
        heir = claim(catalog, generation, THIRD, at=31.0)
        assert catalog.reserve_texts(heir, [1], at=31.0) == set()
        assert catalog.reserve_texts(theirs, [1], at=31.0) == {1}
        catalog.release(heir)
        assert catalog.reserve_texts(theirs, [1], at=31.0) == set()

    def test_nobody_waits_for_the_dead(self, catalog: Catalog) -> None:
        """The texts of a range whose holder is dead, or whose lease ran out, are free before it is taken over."""
        generation = laid_out(catalog)
        mine, theirs = claim(catalog, generation), claim(catalog, generation, OTHER, at=10.0)
        catalog.reserve_texts(mine, [1, 2], at=10.0)
        assert catalog.reserve_texts(theirs, [1], at=29.0) == {1}
        assert catalog.reserve_texts(theirs, [1], at=29.0, dead=[mine.owner]) == set()
        assert catalog.reserve_texts(theirs, [1, 2], at=31.0) == set()
        assert catalog.reserve_texts(mine, [2, 3], at=32.0) == {2}  # not taken over: its own stay its own
        assert catalog.reserve_texts(mine, [3], at=33.0) == set()

    def test_a_shared_budget(self, catalog: Catalog) -> None:
        """What all have paid for a generation counts, whoever pays; the call that would pass it is not written down."""
        number = make_generation(catalog).number
        mine = catalog.pay(None, Cost(number, "m", 1, 10, 0.5), at=1.0, within=1.0)
        catalog.pay(None, Cost(number, "m", 1, 10, 0.25), at=1.0, within=1.0)
        catalog.pay(None, Cost(number + 1, "m", 1, 10, 9.0), at=1.0)
        with pytest.raises(BudgetExceeded, match=r"\$1\.00.*\$0\.75"):
            catalog.pay(mine, Cost(number, "m", 1, 10, 0.5), at=1.0, within=1.0)
        assert catalog.spent_on(number) == 0.75
        catalog.pay(mine, Cost(number, "m", 1, 10, 0.25), at=1.0, within=1.0)
        assert catalog.spent_on(number) == 1.0


class HeartBeatCases(CatalogHooks):
    """``beat``, ``leave``, ``workers``, ``ask`` and ``clock``."""

    def test_who_works(self, catalog: Catalog) -> None:
        """A worker is known from its first sign to its leaving, by what it last said; another index's is not."""
        one = WorkerRecord(ME, ALIAS, "host", 1, since=5.0, seen_at=5.0)
        two = WorkerRecord(OTHER, ALIAS, "host", 2, since=4.0, seen_at=4.0)
        clock = catalog.beat(one)
        catalog.beat(two)
        catalog.beat(WorkerRecord(THIRD, "another", "host", 3, since=1.0, seen_at=1.0))
        assert abs(clock - catalog.clock()) < 60.0
        later = WorkerRecord(ME, ALIAS, "host", 1, 5.0, 9.0, 40, 1, "the model is out of reach")
        catalog.beat(later)
        assert catalog.workers(ALIAS) == [two, later]
        catalog.leave(OTHER)
        assert catalog.workers(ALIAS) == [later]

    def test_who_leaves_keeps_nothing(self, catalog: Catalog) -> None:
        """Ranges, texts and leases of who leaves are free at once; those of others stay."""
        generation = laid_out(catalog)
        mine, theirs = claim(catalog, generation), claim(catalog, generation, OTHER)
        catalog.reserve_texts(mine, [1], at=0.0)
        catalog.reserve_texts(theirs, [2], at=0.0)
        catalog.acquire("something", ME, at=0.0, seconds=30.0)
        kept = catalog.acquire("something else", OTHER, at=0.0, seconds=30.0)
        catalog.leave(ME)
        assert {item.name for item in catalog.leases()} == {theirs.name, kept.name}
        assert catalog.reserve_texts(theirs, [1, 2], at=1.0) == set()
        catalog.lay_out(generation.number, WHOLE, size=4, count=9)
        assert claim(catalog, generation, THIRD).above == mine.above

    def test_what_workers_may_fill(self, catalog: Catalog) -> None:
        """Nothing, until it is asked for."""
        number = make_generation(catalog).number
        assert catalog.generations()[0].asked_at is None
        catalog.ask(number, at=7.0)
        assert catalog.generations()[0].asked_at == 7.0
        catalog.ask(number, at=None)
        assert catalog.generations()[0].asked_at is None

    def test_fields_that_two_learn_at_once(self, catalog: Catalog) -> None:
        """Both are kept, and whoever came first says of what kind one is."""
        number = make_generation(catalog).number
        assert catalog.set_fields(number, {"lang": "string"}) == {"lang": "string"}
        assert catalog.set_fields(number, {"year": "number", "lang": "number"}) == {"lang": "string", "year": "number"}
        assert catalog.generations()[0].fields == {"lang": "string", "year": "number"}
