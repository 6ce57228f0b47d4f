"""Catalog cases: generations and aliases, leases, dead letters, runs, purging, threads and other handles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from regen.core.documents import Document
from regen.errors import CatalogBusy, CatalogError, LeaseLost, NotFound
from regen.ports.catalog import SOURCE_STAGE, Catalog, Cost
from regen.testing.catalog_cases import (
    ALIAS,
    LATER,
    ME,
    OTHER,
    RECIPE,
    CatalogHooks,
    behind,
    lease,
    letter,
    log,
    make_generation,
    numbered,
    place_all,
    placed_catalog,
)


class GenerationCases(CatalogHooks):
    """Generations, their fields and watermark, and the alias."""

    def test_generations_are_numbered(self, catalog: Catalog) -> None:
        """Each has a number and a collection of its own, its recipe word for word, and starts building."""
        first, second = make_generation(catalog), make_generation(catalog)
        found = catalog.generations()
        assert found == [first, second]
        assert (first.number, first.state, first.watermark, first.recipe) == (1, "building", 0, RECIPE)
        assert first.collection != second.collection
        assert first.collection.startswith("regen_handbook")

    def test_fields_and_watermark(self, catalog: Catalog) -> None:
        """Fields are kept as told; the watermark only rises."""
        number = make_generation(catalog).number
        catalog.set_fields(number, {"lang": "string", "tags": "strings"})
        catalog.advance(number, 7)
        catalog.advance(number, 5)
        found = catalog.generations()[0]
        assert (found.fields, found.watermark) == ({"lang": "string", "tags": "strings"}, 7)

    def test_the_first_generation_goes_live_once(self, catalog: Catalog) -> None:
        """The alias points at it from then on, and a second one does not take it over by itself."""
        number = make_generation(catalog).number
        assert catalog.route(ALIAS).live is None
        route = catalog.go_live(ALIAS, number, at=9.0, reason="complete")
        assert (route.live, route.version) == (number, catalog.route(ALIAS).version)
        assert catalog.route(ALIAS).live == number
        assert (catalog.generations()[0].state, catalog.generations()[0].completed_at) == ("live", 9.0)
        with pytest.raises(CatalogError):
            catalog.go_live(ALIAS, make_generation(catalog).number, at=9.0, reason="again")
        assert catalog.route(ALIAS).live == number

    def test_restricted_routes(self, catalog: Catalog) -> None:
        """A route says whether any document has an access list."""
        catalog.go_live(ALIAS, make_generation(catalog).number, at=1.0, reason="test")
        log(catalog, *numbered(2))
        assert not catalog.route(ALIAS).restricted
        log(catalog, Document("secret", "x", access=[]))
        assert catalog.route(ALIAS).restricted


class LeaseCases(CatalogHooks):
    """``acquire``, ``renew``, ``release`` and ``holder``."""

    def test_one_owner_at_a_time(self, catalog: Catalog) -> None:
        """The error names who holds it; names are independent; the owner may take it again, under a new token."""
        mine = lease(catalog, ME)
        with pytest.raises(CatalogBusy, match=ME):
            lease(catalog, OTHER)
        assert catalog.acquire("another", OTHER, at=0.0, seconds=1.0).owner == OTHER
        again = lease(catalog, ME)
        assert again.token > mine.token
        assert catalog.holder("writer") == again
        assert catalog.holder("nobody's") is None

    def test_an_expired_lease_is_free(self, catalog: Catalog) -> None:
        """Its former owner can neither renew nor give away what it has lost."""
        mine = lease(catalog, ME, at=0.0)
        theirs = lease(catalog, OTHER, at=30.1)
        with pytest.raises(LeaseLost):
            catalog.renew(mine, at=31.0, seconds=30.0)
        catalog.release(mine)
        assert catalog.holder("writer") == theirs

    def test_a_dead_owners_lease_is_free(self, catalog: Catalog) -> None:
        """But only if the one known to be dead holds it still."""
        lease(catalog, ME)
        with pytest.raises(CatalogBusy):
            catalog.acquire("writer", OTHER, at=0.0, seconds=9.0, dead="host:9:third")
        assert catalog.acquire("writer", OTHER, at=0.0, seconds=9.0, dead=ME).owner == OTHER

    def test_renewed_and_released(self, catalog: Catalog) -> None:
        """A renewed lease lasts longer under the same token; a released one is free at once."""
        mine = lease(catalog, ME)
        renewed = catalog.renew(mine, at=20.0, seconds=30.0)
        assert (renewed.token, renewed.expires_at) == (mine.token, 50.0)
        with pytest.raises(CatalogBusy):
            lease(catalog, OTHER, at=40.0)
        catalog.release(renewed)
        assert lease(catalog, OTHER, at=40.0).owner == OTHER


class LetterCases(CatalogHooks):
    """Dead letters, runs and costs."""

    def test_letters_newest_first(self, catalog: Catalog) -> None:
        """With the latest reason; a repeated one counts an attempt more; the source stage has no generation."""
        log(catalog, *numbered(2))
        number = make_generation(catalog).number
        catalog.bury([letter("d0", number, 1, "first", at=1.0), letter("d1", None, 0, "unreadable", at=2.0)])
        catalog.bury([letter("d0", number, 1, "second", at=3.0)])
        found = catalog.dead_letters()
        assert [(x.doc_id, x.generation, x.reason, x.attempts) for x in found] == [
            ("d0", number, "second", 2), ("d1", None, "unreadable", 1),
        ]  # fmt: skip
        assert catalog.dead_letters(limit=1) == found[:1]
        assert (catalog.buried(number), catalog.buried(SOURCE_STAGE)) == (["d0"], ["d1"])
        catalog.bury([])

    def test_unearthed(self, catalog: Catalog) -> None:
        """Those of one stage are forgotten, those of another are not."""
        log(catalog, *numbered(1))
        number = make_generation(catalog).number
        catalog.bury([letter("d0", number, 1), letter("d0", None, 0), letter("x", None, 0)])
        catalog.unearth(SOURCE_STAGE, ["d0", "never"])
        assert (catalog.buried(number), catalog.buried(SOURCE_STAGE)) == (["d0"], ["x"])

    def test_an_unreadable_document_has_no_stamp(self, catalog: Catalog) -> None:
        """So it is read again by the next scan, whatever its stamp says."""
        log(catalog, Document("a", "x"))
        catalog.restamp({"a": "stamp"})
        catalog.bury([letter("a", None, 0)])
        assert catalog.stamps(["a"]) == {}
        catalog.unearth(SOURCE_STAGE, ["a"])
        assert catalog.stamps(["a"]) == {"a": "stamp"}

    def test_runs_and_costs(self, catalog: Catalog) -> None:
        """Costs add up over runs; the rate is that of the runs that embedded."""
        for texts in (100, 0, 300):
            costs = [Cost(1, "hashing/8", texts, texts * 10, texts / 1000)] if texts else []
            result = {"embedded_texts": texts, "seconds": 2.0}
            catalog.record_run("sync", started=1.0, finished=3.0, result=result, costs=costs)
        assert catalog.total_cost() == pytest.approx(0.4)
        assert catalog.rate() == pytest.approx(100.0)


class PurgeCases(CatalogHooks):
    """``purge``."""

    def test_the_present_is_never_purged(self, catalog: Catalog) -> None:
        """Old revisions go with their texts; current ones stay whatever their age."""
        number, held = placed_catalog(catalog, *numbered(3))
        log(catalog, Document("d0", "edited"), at=500.0)
        place_all(catalog, number, held)
        purged = catalog.purge(changes_before=LATER)
        assert (purged.changes, purged.contents, purged.tombstones) == (1, 1, 0)
        assert catalog.past_state("d0", catalog.head()).text == "edited"
        with pytest.raises(NotFound):
            catalog.past_state("d0", 1)
        assert len(behind(catalog, make_generation(catalog).number)) == 3

    def test_what_is_young_stays(self, catalog: Catalog) -> None:
        """Changes since the given time can still be restored."""
        log(catalog, Document("a", "one"), at=10.0)
        log(catalog, Document("a", "two"), at=20.0)
        log(catalog, Document("a", "three"), at=30.0)
        assert catalog.purge(changes_before=15.0).changes == 1
        assert catalog.past_state("a", 2).text == "two"

    def test_a_text_stays_while_anything_names_it(self, catalog: Catalog) -> None:
        """Each document's text is its own, one text for all revisions that have it; the last of them takes it along."""
        log(catalog, Document("a", "same"), Document("b", "same"))
        log(catalog, Document("a", "same", {"n": 1}), at=200.0)
        log(catalog, Document("a", "same", {"n": 1}, ["x"]), at=300.0)
        assert catalog.purge(changes_before=250.0).contents == 0
        assert catalog.past_state("a", catalog.head()).text == "same"
        log(catalog, Document("a", "other", {"n": 1}, ["x"]), at=400.0)
        assert catalog.purge(changes_before=350.0).contents == 1
        assert [document.text for document in next(iter(catalog.living()))] == ["other", "same"]

    def test_a_deleted_text_comes_back_as_a_new_one(self, catalog: Catalog) -> None:
        """Under a revision of its own, whatever became of the old one."""
        log(catalog, Document("a", "text"))
        catalog.tombstone(["a"], at=200.0)
        log(catalog, Document("a", "text"), at=300.0)
        assert catalog.purge(changes_before=250.0).contents == 1
        assert catalog.past_state("a", 3).text == "text"

    def test_a_tombstone_stays_while_a_generation_holds_the_document(self, catalog: Catalog) -> None:
        """Then it goes, and its id starts anew."""
        number, held = placed_catalog(catalog, *numbered(2))
        catalog.tombstone(["d0"], at=300.0)
        assert catalog.purge(changes_before=LATER).tombstones == 0
        place_all(catalog, number, held)
        assert catalog.purge(changes_before=200.0).tombstones == 0
        assert catalog.purge(changes_before=LATER).tombstones == 1
        assert catalog.known(["d0"]) == {}
        assert [record.doc_id for record in catalog.history(None, 9)] == ["d1"]
        assert log(catalog, *numbered(1)).outcomes == ["added"]


class ThreadCases(CatalogHooks):
    """Several threads, and several handles on one catalog."""

    def test_ten_writers(self, catalog: Catalog) -> None:
        """None loses a change, no two get one revision, key or token."""
        number, held = make_generation(catalog).number, lease(catalog)

        def work(writer: int) -> tuple[list[int], list[int]]:
            keys, tokens = [], []
            for turn in range(10):
                own = Document(f"{writer}-{turn}", f"{writer} {turn}")
                keys.append(log(catalog, own, Document("shared", f"{writer} {turn}")).doc_keys[0])
                tokens.append(catalog.begin_write(number, b"", held, at=1.0))
                assert own.id in catalog.known([own.id])
            return keys, tokens

        with ThreadPoolExecutor(10) as pool:
            done = list(pool.map(work, range(10)))
        assert len({key for keys, _ in done for key in keys}) == 100
        assert len({token for _, tokens in done for token in tokens}) == 100
        revisions = [record.revision for record in catalog.history(None, 1_000)]
        assert sorted(revisions) == list(range(1, 201))
        assert catalog.alive() == 101

    def test_readers_see_whole_transactions(self, catalog: Catalog) -> None:
        """While documents are logged in pairs, no reader ever sees half a pair."""

        def write() -> None:
            for turn in range(40):
                log(catalog, Document("left", str(turn), {"n": turn}), Document("right", str(turn), {"n": turn}))

        def read() -> int:
            broken = 0
            for _ in range(200):
                states = catalog.states(["left", "right"])
                broken += len({state.metadata for state in states.values()}) > 1
            return broken

        with ThreadPoolExecutor(4) as pool:
            writing = pool.submit(write)
            torn = [pool.submit(read) for _ in range(3)]
            writing.result()
            assert [reader.result() for reader in torn] == [0, 0, 0]

    def test_another_handle_sees_it_at_once(self, catalog: Catalog, second: Catalog) -> None:
        """What one process has committed, the next statement of another reads."""
        log(catalog, *numbered(2))
        assert second.alive() == 2
        assert second.tombstone(["d0"], at=1.0) == 1
        assert catalog.known(["d0"])["d0"].deleted

    def test_leases_hold_across_handles(self, catalog: Catalog, second: Catalog) -> None:
        """A lease taken over by another process cannot be committed under."""
        number, mine = make_generation(catalog).number, lease(catalog, ME)
        with pytest.raises(CatalogBusy, match=ME):
            lease(second, OTHER)
        lease(second, OTHER, at=1_000.0)
        with pytest.raises(LeaseLost):
            catalog.begin_write(number, b"", mine, at=1.0)

    def test_closing_twice(self, catalog: Catalog) -> None:
        """Closing is idempotent."""
        catalog.close()
        catalog.close()
