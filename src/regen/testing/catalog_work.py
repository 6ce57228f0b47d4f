"""Catalog cases: what is due, write intents, conditional commits, garbage, holders and the fence."""

from __future__ import annotations

import orjson
import pytest

from regen.core.chunks import ENTRY_BYTES, unpack, write_token
from regen.core.documents import Document
from regen.errors import LeaseLost
from regen.ports.catalog import Catalog
from regen.testing.catalog_cases import (
    ALIAS,
    ME,
    OTHER,
    CatalogHooks,
    behind,
    chunk_of,
    key_of,
    keys_of,
    lease,
    letter,
    log,
    make_generation,
    numbered,
    place_all,
    placed_catalog,
    placement_of,
)


class DueCases(CatalogHooks):
    """``behind``."""

    def test_all_is_due_to_a_new_generation(self, catalog: Catalog) -> None:
        """In order of revision, with texts, hashes and no placement; deleted ones that it never held are not."""
        log(catalog, *numbered(3))
        log(catalog, Document("d0", "edited", {"x": [1]}, ["b", "a"], version="7"))
        catalog.tombstone(["d2"], at=2.0)
        works = behind(catalog, make_generation(catalog).number)
        assert [(work.doc_id, work.revision, work.text) for work in works] == [
            ("d1", 2, "text of 1"),
            ("d0", 4, "edited"),
        ]
        last = works[1]
        assert (orjson.loads(last.metadata), orjson.loads(last.access or b"null")) == ({"x": [1]}, ["a", "b"])
        assert (last.version, last.placement, last.deleted, last.changed_at) == ("7", None, False, 100.0)

    def test_pages_by_revision_count_and_bytes(self, catalog: Catalog) -> None:
        """Every page starts after the one before it, and holds one document at least, however large."""
        log(catalog, *(Document(f"d{i}", "x" * 1_000) for i in range(10)))
        number = make_generation(catalog).number
        assert keys_of(behind(catalog, number, after=4, upto=7)) == ["d4", "d5", "d6"]
        assert keys_of(behind(catalog, number, limit=2)) == ["d0", "d1"]
        assert len(behind(catalog, number, max_bytes=3_500)) == 3
        assert keys_of(behind(catalog, number, after=9, max_bytes=1)) == ["d9"]

    def test_lanes(self, catalog: Catalog) -> None:
        """Access changes are due by themselves as well."""
        number, _ = placed_catalog(catalog, *numbered(2))
        log(catalog, Document("d0", "text of 0", {"n": 0}, ["team"]), Document("d1", "edited"))
        assert keys_of(behind(catalog, number, lane=0)) == ["d0"]
        assert keys_of(behind(catalog, number)) == ["d0", "d1"]

    def test_just_these(self, catalog: Catalog) -> None:
        """Documents can be asked for by id, in the log's order; those that are not due, or unknown, are left out."""
        number, _ = placed_catalog(catalog, *numbered(3))
        log(catalog, *(Document(f"d{i}", "edited") for i in (2, 0)))
        assert keys_of(behind(catalog, number, ids=["d0", "d1", "d2", "d9"])) == ["d2", "d0"]
        assert keys_of(behind(catalog, number, ids=["d0"])) == ["d0"]
        assert behind(catalog, number, ids=[]) == []

    def test_what_is_placed_is_not_due(self, catalog: Catalog) -> None:
        """Until it changes; a deleted document is due once, for its removal."""
        number, held = placed_catalog(catalog, *numbered(3))
        assert behind(catalog, number) == []
        log(catalog, Document("d1", "edited"))
        catalog.tombstone(["d2"], at=3.0)
        works = behind(catalog, number)
        assert [(work.doc_id, work.deleted, work.placement is None) for work in works] == [
            ("d1", False, False), ("d2", True, False),
        ]  # fmt: skip
        place_all(catalog, number, held)
        assert behind(catalog, number) == []
        assert catalog.placed(number, ["d0", "d1", "d2"]).keys() == {"d0", "d1"}

    def test_generations_are_independent(self, catalog: Catalog) -> None:
        """What one holds, another lacks."""
        number, held = placed_catalog(catalog, *numbered(2))
        other = make_generation(catalog).number
        assert other != number
        assert keys_of(behind(catalog, other)) == ["d0", "d1"]
        place_all(catalog, other, held)
        assert (catalog.counts(number).documents, catalog.counts(other).documents) == (2, 2)

    def test_dead_letters_are_not_due_at_their_revision(self, catalog: Catalog) -> None:
        """Until the document changes, or all are revived."""
        log(catalog, *numbered(2))
        number = make_generation(catalog).number
        catalog.bury([letter("d0", number, 1)])
        assert keys_of(behind(catalog, number)) == ["d1"]
        log(catalog, Document("d0", "edited"))
        assert keys_of(behind(catalog, number)) == ["d1", "d0"]
        catalog.bury([letter("d1", number, 2)])
        catalog.advance(number, 3)
        assert catalog.revive() == 2
        assert "d1" in keys_of(behind(catalog, number))
        assert catalog.generations()[-1].watermark < 2


class CommitCases(CatalogHooks):
    """``begin_write``, ``commit_write``, ``abandon_writes`` and garbage."""

    def test_tokens_are_never_given_twice(self, catalog: Catalog) -> None:
        """Not even to the same writer."""
        number, held = make_generation(catalog).number, lease(catalog)
        tokens = [catalog.begin_write(number, b"", held, at=1.0) for _ in range(20)]
        assert len(set(tokens)) == 20

    def test_a_replaced_placement_becomes_garbage(self, catalog: Catalog) -> None:
        """The old entries, whole, and nothing else; cleared garbage is gone."""
        number, held = placed_catalog(catalog, *numbered(2))
        before = catalog.placed(number, ["d0"])["d0"].chunks
        log(catalog, Document("d0", "edited"))
        assert catalog.garbage(number) == []
        place_all(catalog, number, held)
        found = catalog.garbage(number)
        assert b"".join(item.entries for item in found) == before
        catalog.clear_garbage([item.id for item in found])
        assert catalog.garbage(number) == []

    def test_a_document_that_moved_on_is_not_committed(self, catalog: Catalog) -> None:
        """Its placement stays, and what was written for it is garbage; the others of the batch are committed."""
        number, held = placed_catalog(catalog, *numbered(2))
        kept = catalog.placed(number, ["d0"])["d0"]
        log(catalog, Document("d0", "second"), Document("d1", "second"))
        works = behind(catalog, number)
        log(catalog, Document("d0", "third"))
        token = catalog.begin_write(number, b"", held, at=1.0)
        done = catalog.commit_write(number, token, [placement_of(work, token) for work in works], held, at=2.0)
        assert done == {works[1].doc_key}
        assert catalog.placed(number, ["d0"])["d0"] == kept
        wasted = (chunk_of("d0", "second"), write_token(token))
        entries = [entry for item in catalog.garbage(number) for entry in unpack(item.entries)]
        assert wasted in entries
        assert len(entries) == 2  # and d1's old one
        assert keys_of(behind(catalog, number)) == ["d0"]

    def test_nothing_is_committed_under_a_lost_lease(self, catalog: Catalog) -> None:
        """No placement, no garbage, no letter; the intent stays for the new owner to clean up."""
        log(catalog, *numbered(1))
        number, held = make_generation(catalog).number, lease(catalog, ME, at=0.0)
        works = behind(catalog, number)
        token = catalog.begin_write(number, chunk_of("d0", works[0].text), held, at=1.0)
        new = lease(catalog, OTHER, at=100.0)
        with pytest.raises(LeaseLost):
            catalog.commit_write(
                number, token, [placement_of(works[0], token)], held, at=2.0, letters=[letter("d0", number, 1)]
            )
        for call in (lambda: catalog.begin_write(number, b"", held, at=3.0),
                     lambda: catalog.abandon_writes(number, held, at=3.0),
                     lambda: catalog.renew(held, at=3.0, seconds=9.0)):  # fmt: skip
            with pytest.raises(LeaseLost):
                call()
        assert (catalog.placed(number, ["d0"]), catalog.dead_letters(), catalog.garbage(number)) == ({}, [], [])
        assert catalog.abandon_writes(number, new, at=4.0) == 1
        assert [unpack(item.entries) for item in catalog.garbage(number)] == [
            [(chunk_of("d0", works[0].text), write_token(token))]
        ]

    def test_a_committed_intent_is_not_abandoned(self, catalog: Catalog) -> None:
        """Only what no commit followed becomes garbage, once."""
        number, held = placed_catalog(catalog, *numbered(2))
        assert catalog.abandon_writes(number, held, at=1.0) == 0
        catalog.begin_write(number, b"x" * 32, held, at=2.0)
        assert catalog.abandon_writes(number, held, at=3.0) == 2
        assert catalog.abandon_writes(number, held, at=4.0) == 0

    def test_letters_are_buried_by_the_commit_and_forgotten_by_success(self, catalog: Catalog) -> None:
        """The letter of this revision stays, that of an older one goes with the placement that outlived it."""
        log(catalog, *numbered(2))
        number, held = make_generation(catalog).number, lease(catalog)
        works = behind(catalog, number)
        token = catalog.begin_write(number, b"", held, at=1.0)
        failed = [letter("d1", number, 2)]
        catalog.commit_write(number, token, [placement_of(works[0], token)], held, at=2.0, letters=failed)
        assert catalog.buried(number) == ["d1"]
        log(catalog, Document("d1", "mended"))
        assert catalog.buried(number) == ["d1"]
        place_all(catalog, number, held)
        assert catalog.buried(number) == []

    def test_marks(self, catalog: Catalog) -> None:
        """Rewrites and payloads are due again, below the watermark too; a rewrite is not weakened."""
        number, held = placed_catalog(catalog, *numbered(4))
        log(catalog, Document("d3", "text of 3", {"n": 3}, ["team"]), at=500.0)
        place_all(catalog, number, held)
        catalog.advance(number, catalog.head())
        assert catalog.demand_rewrite(number, ["d1", "never"]) == 1
        assert catalog.demand_replay(number, 400.0) == 1
        assert catalog.demand_payloads(number, ["n", "zzz"]) == 2
        assert catalog.generations()[0].watermark == 0
        marks = {work.doc_id: work.placement.revision for work in behind(catalog, number) if work.placement}
        assert marks == {"d0": -2, "d1": -1, "d2": -2, "d3": -1}
        assert catalog.demand_payloads(number, ["zzz"]) == 0
        place_all(catalog, number, held)
        assert behind(catalog, number) == []

    def test_payloads_under_way_are_marked(self, catalog: Catalog) -> None:
        """From the intent to the commit nobody knows what payload the points have."""
        number, held = placed_catalog(catalog, *numbered(2))
        log(catalog, Document("d0", "text of 0", {"n": "other"}))
        work = behind(catalog, number)[0]
        token = catalog.begin_write(number, b"", held, at=1.0, repaid=[work.doc_key])
        assert catalog.placed(number, ["d0"])["d0"].revision == -2
        catalog.commit_write(number, token, [placement_of(work, token)], held, at=2.0)
        assert catalog.placed(number, ["d0"])["d0"].revision == work.revision

    def test_many_are_committed_at_once(self, catalog: Catalog) -> None:
        """Thousands in one transaction, all found again page by page."""
        number, _ = placed_catalog(catalog)
        log(catalog, *numbered(3_000))
        held = lease(catalog)
        works = behind(catalog, number, limit=10_000)
        token = catalog.begin_write(number, b"", held, at=1.0)
        done = catalog.commit_write(number, token, [placement_of(work, token) for work in works], held, at=2.0)
        assert len(done) == 3_000
        pages = list(catalog.placements(number, batch=700))
        assert [len(page) for page in pages] == [700, 700, 700, 700, 200]
        assert {entry.doc_id for page in pages for entry, _ in page} == {f"d{i}" for i in range(3_000)}
        assert all(entry.chunks == placed.chunks for page in pages for entry, placed in page)


class LookupCases(CatalogHooks):
    """``holders``, ``fence``, ``drops`` and ``counts``."""

    def test_holders_of_a_text(self, catalog: Catalog) -> None:
        """Every document of the generation that holds it, with the entries under which it lies."""
        same = [Document("a", "same"), Document("b", "same"), Document("c", "other")]
        number, held = placed_catalog(catalog, *same)
        found = catalog.holders(number, [key_of("same"), key_of("nowhere")])
        assert sorted(holder.doc_id for holder in found) == ["a", "b"]
        assert {holder.text_key for holder in found} == {key_of("same")}
        assert all(len(holder.chunks) == ENTRY_BYTES for holder in found)
        assert catalog.holders(number + 1, [key_of("same")]) == []
        catalog.tombstone(["a"], at=3.0)
        work = behind(catalog, number)[0]
        gone = placement_of(work, 0)._replace(old_text_keys=(key_of("same"),))
        catalog.commit_write(number, None, [gone], held, at=4.0)
        assert [holder.doc_id for holder in catalog.holders(number, [key_of("same")])] == ["b"]

    def test_the_fence_follows_the_log_at_once(self, catalog: Catalog) -> None:
        """Deletion, access and metadata are those of the log; the chunks those of the placement."""
        number, _ = placed_catalog(catalog, *numbered(3))
        chunks = catalog.placed(number, ["d0"])["d0"].chunks
        log(catalog, Document("d0", "edited", {"n": "new"}, ["team"]), Document("unplaced", "x"))
        catalog.tombstone(["d1"], at=3.0)
        facts = catalog.fence(number, ["d0", "d1", "unplaced", "never"])
        assert facts.keys() == {"d0", "d1"}
        assert (facts["d0"].chunks, facts["d0"].deleted) == (chunks, False)
        assert (orjson.loads(facts["d0"].access or b"null"), orjson.loads(facts["d0"].metadata)) == (
            ["team"], {"n": "new"},
        )  # fmt: skip
        assert facts["d1"].deleted

    def test_drops_tell_of_points_that_are_named_no_more(self, catalog: Catalog) -> None:
        """The number moves with every replaced or removed placement, and not without."""
        number, held = placed_catalog(catalog, *numbered(2))
        first = catalog.drops()
        log(catalog, Document("new", "x"))
        place_all(catalog, number, held)
        assert catalog.drops() == first
        log(catalog, Document("d0", "edited"))
        place_all(catalog, number, held)
        assert catalog.drops() != first
        assert catalog.go_live(ALIAS, number, at=9.0, reason="test").live == number
        assert catalog.route(ALIAS).drops == catalog.drops()

    def test_counts(self, catalog: Catalog) -> None:
        """Placed, waiting, outdated, failed and deleted ones, each by its own rule, and how long the oldest waits."""
        number, _ = placed_catalog(catalog, *numbered(4))
        clean = catalog.counts(number)
        assert (clean.documents, clean.chunks, clean.pending, clean.oldest_pending_at) == (4, 4, 0, None)
        log(catalog, Document("d0", "edited"), at=700.0)
        log(catalog, Document("new", "x"), Document("bad", "x"), at=800.0)
        catalog.tombstone(["d1"], at=900.0)
        catalog.bury([letter("bad", number, 7)])
        told = catalog.counts(number)
        assert (told.documents, told.pending, told.stale, told.failed, told.deleted_still_present) == (4, 3, 1, 1, 1)
        assert told.oldest_pending_at == 700.0

    def test_latencies(self, catalog: Catalog) -> None:
        """Seconds from the change to its placement."""
        number, _ = placed_catalog(catalog, *numbered(3))  # logged at 100, placed at 200
        assert catalog.latencies(number) == [100.0, 100.0, 100.0]

    def test_latencies_of_a_time(self, catalog: Catalog) -> None:
        """Only changes logged from ``after`` until before ``before`` count."""
        number, held = placed_catalog(catalog, *numbered(3))
        log(catalog, Document("d0", "edited"), at=150.0)
        place_all(catalog, number, held)
        assert sorted(catalog.latencies(number)) == [50.0, 100.0, 100.0]
        assert catalog.latencies(number, after=150.0) == [50.0]
        assert catalog.latencies(number, before=150.0) == [100.0, 100.0]
        assert catalog.latencies(number, after=100.0, before=100.0) == []
