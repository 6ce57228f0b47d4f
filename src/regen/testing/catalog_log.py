"""Catalog cases: the change log, documents, history and the past."""

from __future__ import annotations

from typing import cast

import pytest

from regen.core.changes import candidate
from regen.core.documents import Document, fingerprint
from regen.errors import NotFound, RegenError
from regen.ports.catalog import Catalog
from regen.testing.catalog_cases import CatalogHooks, log, numbered, outcomes

HOSTILE_IDS = (
    "'",
    '"; DROP TABLE documents; --',
    "a/b c.md",
    "ü€😀",
    "%",
    "\\",
    "tab\tnew\nline",
    "x" * 2_000,
    " ",
    "NULL",
)


class LogCases(CatalogHooks):
    """``log``, ``tombstone``, ``restamp``, and what they make known."""

    def test_a_new_catalog_is_empty(self, catalog: Catalog) -> None:
        """Nothing is known, logged, live or dead."""
        assert (catalog.head(), catalog.alive(), catalog.generations()) == (0, 0, [])
        assert (catalog.dead_letters(), catalog.history(None, 10)) == ([], [])
        assert catalog.route("any").live is None
        assert (catalog.rate(), catalog.total_cost()) == (None, 0.0)

    def test_each_facet_is_told_apart(self, catalog: Catalog) -> None:
        """The strongest facet that differs names the change; equal documents are unchanged and take no revision."""
        first = Document("a", "text", {"lang": "en", "title": "T"})
        assert outcomes(catalog, first) == ["added"]
        assert outcomes(catalog, first) == ["unchanged"]
        assert outcomes(catalog, Document("a", "text", {"lang": "de", "title": "T"})) == ["metadata"]
        assert outcomes(catalog, Document("a", "text", {"lang": "de", "title": "T"}, ["x"])) == ["access"]
        assert outcomes(catalog, Document("a", "new", {"lang": "fr", "title": "T"}, ["y"])) == ["content"]
        titled = Document("a", "new", {"lang": "fr", "title": "U"}, ["y"])
        assert outcomes(catalog, titled, content_keys=["title"]) == ["content"]
        assert catalog.head() == 5

    def test_revisions_follow_the_order_of_delivery(self, catalog: Catalog) -> None:
        """Each change takes the next revision; the outcome names the last; keys are stable and distinct."""
        done = log(catalog, *numbered(3))
        assert (done.revision, len(set(done.doc_keys))) == (3, 3)
        again = log(catalog, Document("d1", "other"), *numbered(1))
        assert (again.outcomes, again.revision) == (["content", "unchanged"], 4)
        assert again.doc_keys == [done.doc_keys[1], done.doc_keys[0]]
        assert log(catalog, *numbered(1)).revision == 4

    def test_what_is_known(self, catalog: Catalog) -> None:
        """Key, fingerprint and deletion of those that exist, and nothing of the others."""
        document = Document("a", "text")
        key = log(catalog, document).doc_keys[0]
        found = catalog.known(["a", "b"])
        assert found.keys() == {"a"}
        assert (found["a"].doc_key, found["a"].fingerprint, found["a"].deleted) == (key, fingerprint(document), False)
        catalog.tombstone(["a"], at=1.0)
        assert (catalog.known(["a"])["a"].deleted, catalog.known(["a"])["a"].fingerprint) == (True, None)
        assert catalog.known([]) == {}

    def test_thousands_of_ids_in_one_question(self, catalog: Catalog) -> None:
        """No limit of parameters is met."""
        log(catalog, *numbered(5_000))
        asked = [f"d{i}" for i in range(40_000)]
        assert len(catalog.known(asked)) == 5_000
        assert len(catalog.states(asked)) == 5_000

    def test_hostile_ids(self, catalog: Catalog) -> None:
        """Ids are data: none is mangled, mixed up or run."""
        log(catalog, *(Document(doc_id, f"text {i}") for i, doc_id in enumerate(HOSTILE_IDS)))
        assert catalog.known(HOSTILE_IDS).keys() == set(HOSTILE_IDS)
        assert catalog.tombstone(HOSTILE_IDS[:3], at=1.0) == 3
        assert catalog.alive() == len(HOSTILE_IDS) - 3

    def test_a_tombstone_is_logged_once(self, catalog: Catalog) -> None:
        """Only living documents are deleted, and the count says how many; a later delivery adds them anew."""
        log(catalog, *numbered(3))
        assert catalog.tombstone(["d0", "d2", "never"], at=7.0) == 2
        assert catalog.tombstone(["d0", "d2"], at=8.0) == 0
        assert (catalog.alive(), catalog.head()) == (1, 5)
        assert catalog.states(["d0", "d1"]).keys() == {"d1"}
        assert outcomes(catalog, Document("d0", "text of 0", {"n": 0})) == ["added"]
        assert [record.kind for record in catalog.history("d0", 9)] == ["added", "deleted", "added"]

    def test_stamps(self, catalog: Catalog) -> None:
        """A stamp is given back while its document is alive and readable, and a new one takes its place."""
        catalog.log("files", [candidate(Document(i, i), f"stamp {i}") for i in "abc"], content_keys=(), at=1.0)
        log(catalog, Document("plain", "x"))
        catalog.restamp({"b": "newer"})
        assert catalog.stamps(["a", "b", "plain", "no"]) == {"a": "stamp a", "b": "newer"}
        catalog.tombstone(["c"], at=2.0)
        assert catalog.stamps(["c"]) == {}

    def test_what_vanished(self, catalog: Catalog) -> None:
        """Living documents of that source whose key is unmarked, and how many there are in all."""
        keys = log(catalog, *numbered(4)).doc_keys
        log(catalog, Document("other", "x"), source="push")
        catalog.tombstone(["d3"], at=1.0)
        seen = bytearray(max(keys) + 1)
        seen[keys[1]] = 1
        missing, alive = catalog.vanished("files", seen)
        assert (sorted(missing), alive) == (["d0", "d2"], 3)
        assert catalog.vanished("files", bytearray())[1] == 3
        assert catalog.vanished("nobody", seen) == ([], 0)

    def test_history_newest_first(self, catalog: Catalog) -> None:
        """Of all documents or of one, at most as many as asked for."""
        log(catalog, *numbered(3), at=10.0)
        log(catalog, Document("d1", "edited"), at=20.0)
        assert [record.revision for record in catalog.history(None, 3)] == [4, 3, 2]
        of_one = catalog.history("d1", 9)
        assert [(r.revision, r.kind, r.changed_at, r.restorable) for r in of_one] == [
            (4, "content", 20.0, True), (2, "added", 10.0, True),
        ]  # fmt: skip

    def test_the_past_is_kept(self, catalog: Catalog) -> None:
        """Text, metadata, access, version and source as they were at any revision since the document's first."""
        log(catalog, Document("a", "one", {"n": 1}, ["x"], version="v1"))
        log(catalog, Document("a", "two"))
        catalog.tombstone(["a"], at=3.0)
        past = catalog.past_state("a", 1)
        assert (past.text, past.metadata, past.access, past.version, past.source) == (
            "one", {"n": 1}, ["x"], "v1", "files",
        )  # fmt: skip
        assert (catalog.past_state("a", 2).text, catalog.past_state("a", 3).text) == ("two", None)
        for doc_id, revision in (("a", 0), ("b", 3)):
            with pytest.raises(NotFound):
                catalog.past_state(doc_id, revision)

    def test_a_restored_document_keeps_what_its_source_delivered(self, catalog: Catalog) -> None:
        """So the next scan of an unchanged source finds nothing to do, and does not miss a restored deletion."""
        log(catalog, Document("a", "one"))
        log(catalog, Document("a", "two"))
        past = candidate(Document("a", "one"))._replace(fingerprint=None)
        assert catalog.log("files", [past], content_keys=(), at=1.0, restored=True).outcomes == ["content"]
        assert catalog.known(["a"])["a"].fingerprint == fingerprint(Document("a", "two"))
        assert [record.kind for record in catalog.history("a", 1)] == ["restored"]
        catalog.tombstone(["a"], at=5.0)
        catalog.log("files", [past], content_keys=(), at=6.0, restored=True)
        assert catalog.vanished("files", bytearray())[0] == []

    def test_a_restored_document_is_what_was_handed_over(self, catalog: Catalog) -> None:
        """With a fingerprint it counts as delivered like that; what was delivered before differs from it."""
        log(catalog, Document("a", "one"))
        log(catalog, Document("a", "two"))
        assert outcomes(catalog, Document("a", "one"), restored=True) == ["content"]
        assert catalog.known(["a"])["a"].fingerprint == fingerprint(Document("a", "one"))
        assert [record.kind for record in catalog.history("a", 1)] == ["restored"]

    def test_a_batch_is_logged_wholly_or_not_at_all(self, catalog: Catalog) -> None:
        """One document that cannot be logged takes the whole call back."""
        log(catalog, Document("old", "x"))
        spoilt = candidate(Document("bad", "x"))
        spoilt.document.text = cast("str", None)
        with pytest.raises((RegenError, AttributeError, TypeError)):
            catalog.log("files", [candidate(Document("new", "y")), spoilt], content_keys=(), at=1.0)
        assert (catalog.head(), catalog.alive()) == (1, 1)
        assert catalog.known(["new", "bad"]) == {}
        assert outcomes(catalog, Document("new", "y")) == ["added"]
