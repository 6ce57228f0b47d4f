"""Catalog cases: what checks on live data ask."""

from __future__ import annotations

from collections import Counter

from regen.core.chunks import unpack
from regen.core.documents import Document
from regen.ports.auditing import Unnamed
from regen.ports.catalog import Catalog
from regen.testing.catalog_cases import CatalogHooks, log, make_generation, numbered, place_all, placed_catalog


class AuditCases(CatalogHooks):
    """``facts``, ``newest``, ``sampled``, ``access_lists``, ``living`` and ``unnamed``."""

    def test_facts_are_those_of_the_log(self, catalog: Catalog) -> None:
        """Revision, deletion, access list and time; the source's own time where it gave one."""
        log(catalog, Document("a", "x", access=["t", "s"]), Document("b", "y", updated_at=7.0), at=100.0)
        catalog.tombstone(["a"], at=200.0)
        found = catalog.facts(["a", "b", "never"])
        assert found.keys() == {"a", "b"}
        assert (found["a"].revision, found["a"].deleted, found["a"].access) == (3, True, ("s", "t"))
        assert (found["b"].revision, found["b"].deleted, found["b"].access) == (2, False, None)
        assert (found["a"].changed_at, found["b"].changed_at) == (200.0, 7.0)
        assert catalog.facts([]) == {}

    def test_the_newest_of_each_kind(self, catalog: Catalog) -> None:
        """The living and the deleted ones apart, newest change first, at most as many as asked for."""
        log(catalog, *numbered(4))
        log(catalog, Document("d0", "edited"))
        catalog.tombstone(["d1", "d2"], at=9.0)
        assert [item.doc_id for item in catalog.newest(9)] == ["d0", "d3"]
        assert [item.doc_id for item in catalog.newest(1, deleted=True)] == ["d2"]
        assert all(item.deleted for item in catalog.newest(9, deleted=True))
        assert catalog.newest(0) == []

    def test_a_sample_is_fair_and_repeatable(self, catalog: Catalog) -> None:
        """The same seed draws the same documents, over many seeds every living one comes up about as often."""
        log(catalog, *numbered(40))
        catalog.tombstone([f"d{i}" for i in range(20)], at=9.0)
        assert catalog.sampled(5, seed=3) == catalog.sampled(5, seed=3)
        drawn = Counter(item.doc_id for seed in range(400) for item in catalog.sampled(5, seed=seed))
        assert drawn.keys() == {f"d{i}" for i in range(20, 40)}
        assert min(drawn.values()) > 50  # 100 each are expected
        assert len(catalog.sampled(100, seed=1)) == 20

    def test_one_document_for_each_access_list(self, catalog: Catalog) -> None:
        """Public documents have none; the empty list is one; equal lists are one, however they were written."""
        lists = [["a", "b"], ["b", "a", "a"], [], ["a"], None]
        log(catalog, *(Document(f"d{i}", "x", access=access) for i, access in enumerate(lists)))
        log(catalog, Document("gone", "x", access=["c"]))
        catalog.tombstone(["gone"], at=9.0)
        found = {item.access: item.doc_id for item in catalog.access_lists(9, seed=0)}
        assert found == {("a", "b"): "d0", (): "d2", ("a",): "d3"}
        assert len(catalog.access_lists(2, seed=0)) == 2

    def test_living_documents_come_in_pages(self, catalog: Catalog) -> None:
        """Each once, as it is now, with what its source said; deleted ones not at all; no page is longer than asked."""
        log(catalog, *numbered(7), Document("full", "über", {"title": "T", "n": 1}, ["b", "a"], "v2"))
        log(catalog, Document("d3", "edited"))
        catalog.tombstone(["d5"], at=9.0)
        pages = [*catalog.living(batch=3)]
        assert [len(page) for page in pages] == [3, 3, 1]
        found = {document.id: document for page in pages for document in page}
        assert found.keys() == {"full", *(f"d{i}" for i in range(7) if i != 5)}
        assert found["d3"].text == "edited"
        full = found["full"]
        assert (full.text, full.metadata, full.version) == ("über", {"title": "T", "n": 1}, "v2")
        assert sorted(full.access or ()) == ["a", "b"]
        assert found["d0"].access is None

    def test_points_that_no_placement_names(self, catalog: Catalog) -> None:
        """Garbage and announced writes of one generation are counted in points."""
        number, held = placed_catalog(catalog, *numbered(3))
        other = make_generation(catalog).number
        assert catalog.unnamed(number) == Unnamed(0, 0)
        log(catalog, Document("d0", "edited"), Document("d1", "edited too"))
        place_all(catalog, number, held)
        catalog.begin_write(number, b"x" * 48, held, at=2.0)
        assert catalog.unnamed(number) == Unnamed(2, 3)
        assert catalog.unnamed(other) == Unnamed(0, 0)
        assert sum(len(unpack(item.entries)) for item in catalog.garbage(number)) == 2
