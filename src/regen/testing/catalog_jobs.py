"""Catalog cases: jobs, alarms, and what belongs to which source."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from regen.core.alarms import Alert
from regen.core.results import DeadLetter
from regen.ports.catalog import SOURCE_STAGE, Catalog
from regen.ports.jobs import Job
from regen.testing.catalog_cases import ALIAS, CatalogHooks, log, numbered, placed_catalog


class JobCases(CatalogHooks):
    """Jobs keep what is set of them; alarms are there until they are forgotten."""

    def test_a_job_is_amended(self, catalog: Catalog) -> None:
        """It is known since it was first heard of; what is not set stays."""
        assert catalog.jobs(ALIAS) == {}
        catalog.amend_job(ALIAS, "sync docs", at=5.0)
        assert catalog.jobs(ALIAS) == {"sync docs": Job("sync docs", 5.0)}
        catalog.amend_job(ALIAS, "sync docs", at=6.0, failures=2, failed_at=6.0, error="ä")
        catalog.amend_job(ALIAS, "sync docs", at=7.0, pending=3, pending_since=6.5, follower="me")
        wanted = Job(
            "sync docs", 5.0, failures=2, failed_at=6.0, error="ä", pending=3, pending_since=6.5, follower="me"
        )
        assert catalog.jobs(ALIAS) == {"sync docs": wanted}
        catalog.amend_job(ALIAS, "sync docs", at=8.0, pending_since=None)
        assert catalog.jobs(ALIAS)["sync docs"].pending_since is None
        assert catalog.jobs("another") == {}

    def test_a_job_is_added_once(self, catalog: Catalog) -> None:
        """Whoever hears of it at the same time."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: catalog.amend_job(ALIAS, f"job {n % 2}", at=1.0, failures=n), range(8)))
        assert set(catalog.jobs(ALIAS)) == {"job 0", "job 1"}

    def test_alarms(self, catalog: Catalog) -> None:
        """One for each key, the oldest first."""
        first, second = Alert("b", "check", "detail", 1.0, documents=("x", "ä")), Alert("a", "floor", "", 2.0)
        catalog.keep_alert(ALIAS, second)
        catalog.keep_alert(ALIAS, first)
        assert catalog.alerts(ALIAS) == [first, second]
        changed = Alert("b", "check", "other", 1.0, 3.0, "fired", 2, 2.5, "refused", ())
        catalog.keep_alert(ALIAS, changed)
        assert catalog.alerts(ALIAS) == [changed, second]
        assert catalog.alerts("another") == []
        catalog.forget_alert(ALIAS, "b")
        catalog.forget_alert(ALIAS, "b")
        assert catalog.alerts(ALIAS) == [second]


class SourceCases(CatalogHooks):
    """What one source has is told apart from what the others have."""

    def test_letters_of_a_source(self, catalog: Catalog) -> None:
        """Those from before sources were noted are of any."""
        letters = [
            DeadLetter("a", None, 0, "broken", 1, 1.0, "docs"),
            DeadLetter("b", None, 0, "broken", 1, 1.0, "wiki"),
            DeadLetter("c", None, 0, "broken", 1, 1.0),
        ]
        catalog.bury(letters)
        assert sorted(catalog.buried(SOURCE_STAGE)) == ["a", "b", "c"]
        assert sorted(catalog.buried(SOURCE_STAGE, "docs")) == ["a", "c"]
        assert {letter.doc_id: letter.source for letter in catalog.dead_letters()} == {
            "a": "docs",
            "b": "wiki",
            "c": "",
        }

    def test_counts_of_a_source(self, catalog: Catalog) -> None:
        """Documents, those that a generation lacks, and since when; stamps are each source's own."""
        number, _ = placed_catalog(catalog, *numbered(2))
        log(catalog, *numbered(3, 2), at=300.0, source="wiki")
        counts = {
            name: (item.documents, item.pending, item.oldest_pending_at)
            for name, item in catalog.sources(number).items()
        }
        assert counts == {"files": (2, 0, None), "wiki": (3, 3, 300.0)}
        assert {name: item.documents for name, item in catalog.sources(None).items()} == {"files": 2, "wiki": 3}
        assert (catalog.alive("files"), catalog.alive("wiki"), catalog.alive("another")) == (2, 3, 0)
        assert {item.source for item in catalog.known(["d0", "d1"]).values()} == {"files"}
        catalog.restamp({"d0": "s", "d2": "t"})
        assert catalog.stamps(["d0", "d2"], "files") == {"d0": "s"}
        assert catalog.stamps(["d0", "d2"], "another") == {}
        assert len(catalog.latencies(number, source="files")) == 2
        assert catalog.latencies(number, source="wiki") == []

    def test_a_document_changes_its_source(self, catalog: Catalog) -> None:
        """Also when nothing else of it differs."""
        log(catalog, *numbered(1))
        log(catalog, *numbered(1), source="wiki")
        assert catalog.known(["d0"])["d0"].source == "wiki"
        assert catalog.head() == 1
