"""Catalog cases: how searches fared with a reranker, and what judging it found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from regen.ports.catalog import Catalog
from regen.ports.reranking import RerankCounts
from regen.testing.catalog_cases import ALIAS, CatalogHooks

MODEL = "cross-encoder/tiny"


class RerankCases(CatalogHooks):
    """Counts of all processes, and a judgement."""

    def test_counts_add_up(self, catalog: Catalog) -> None:
        """By alias and model; the last error is of the newest count that has one."""
        assert catalog.reranker(ALIAS, MODEL) is None
        catalog.count_reranking(ALIAS, MODEL, RerankCounts(5, 4, 3, 2, "slow", 7.0))
        catalog.count_reranking(ALIAS, MODEL, RerankCounts(reranked=10))
        catalog.count_reranking(ALIAS, "another", RerankCounts(skipped=1))
        catalog.count_reranking("another", MODEL, RerankCounts(skipped=1))
        found = catalog.reranker(ALIAS, MODEL)
        assert found is not None
        assert found.counts == RerankCounts(15, 4, 3, 2, "slow", 7.0)
        assert (found.helps, found.fingerprint, found.judged_at, dict(found.result)) == (None, "", None, {})
        catalog.count_reranking(ALIAS, MODEL, RerankCounts(timeouts=1, last_error="slower", failed_at=9.0))
        newest = catalog.reranker(ALIAS, MODEL)
        assert newest is not None
        assert newest.counts == RerankCounts(15, 4, 4, 2, "slower", 9.0)

    def test_a_judgement_stands_beside_the_counts(self, catalog: Catalog) -> None:
        """Judging touches no count, and counting no judgement; a second judgement takes the first one's place."""
        catalog.judge_reranker(ALIAS, MODEL, helps=True, fingerprint="f", at=1.0, result={"text": "ä"})
        catalog.count_reranking(ALIAS, MODEL, RerankCounts(reranked=1))
        catalog.judge_reranker(ALIAS, MODEL, helps=False, fingerprint="g", at=2.0, result={"n": 1})
        found = catalog.reranker(ALIAS, MODEL)
        assert found is not None
        assert found.counts == RerankCounts(reranked=1)
        assert (found.helps, found.fingerprint, found.judged_at, found.result) == (False, "g", 2.0, {"n": 1})

    def test_no_count_is_lost_between_threads(self, catalog: Catalog) -> None:
        """Additions at the same time all arrive."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: catalog.count_reranking(ALIAS, MODEL, RerankCounts(reranked=1)), range(12)))
        found = catalog.reranker(ALIAS, MODEL)
        assert found is not None
        assert found.counts.reranked == 12
