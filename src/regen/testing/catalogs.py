"""The conformance suite for catalogs: every method of the port, its conditions and its atomicity.

    from regen.testing.catalogs import CatalogConformance

    class TestMyCatalog(CatalogConformance):
        def make_catalog(self, tmp_path):
            return open_my_catalog(tmp_path / "catalog")

        def reopen(self, tmp_path):                # leave out for a catalog that only one handle can have
            return open_my_catalog(tmp_path / "catalog")

Needs pytest (``regen[test]``).
"""

from __future__ import annotations

from regen.testing.catalog_auditing import AuditCases
from regen.testing.catalog_cases import CatalogHooks
from regen.testing.catalog_evaluations import EvaluationCases, RolloutCases
from regen.testing.catalog_insight import InsightCases
from regen.testing.catalog_jobs import JobCases, SourceCases
from regen.testing.catalog_log import LogCases
from regen.testing.catalog_reranking import RerankCases
from regen.testing.catalog_service import ServiceCases
from regen.testing.catalog_transactions import CollectedCases, TransactionCases
from regen.testing.catalog_upkeep import GenerationCases, LeaseCases, LetterCases, PurgeCases, ThreadCases
from regen.testing.catalog_work import CommitCases, DueCases, LookupCases
from regen.testing.catalog_workers import HeartBeatCases, RangeCases, TextCases

__all__ = ["CatalogConformance", "CatalogHooks"]


class CatalogConformance(
    LogCases,
    DueCases,
    CommitCases,
    LookupCases,
    GenerationCases,
    LeaseCases,
    LetterCases,
    PurgeCases,
    ThreadCases,
    EvaluationCases,
    RolloutCases,
    RerankCases,
    AuditCases,
    CollectedCases,
    TransactionCases,
    InsightCases,
    RangeCases,
    TextCases,
    HeartBeatCases,
    ServiceCases,
    JobCases,
    SourceCases,
):
    """All catalog cases."""
