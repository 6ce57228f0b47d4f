"""Catalog cases: where generations lie, pauses, evaluations, the query log, and what a generation has cost."""

from __future__ import annotations

from typing import Any

import pytest

from regen.errors import NotFound
from regen.ports.catalog import Catalog, Cost, LoggedQuery
from regen.testing.catalog_cases import ALIAS, RECIPE, CatalogHooks, make_generation


def query(name: str, at: float, text: str = "how do I reset my password") -> LoggedQuery:
    """A logged search that returned two documents."""
    return LoggedQuery(name, text, 1, ("a", "b"), (), at)


class EvaluationCases(CatalogHooks):
    """What promotions rest on, and what users asked."""

    def test_a_generation_knows_its_store(self, catalog: Catalog) -> None:
        """The URL under which it was made stays with it; none was said of the other."""
        made = catalog.create_generation(ALIAS, RECIPE, "regen", at=1.0, store="lancedb://elsewhere")
        make_generation(catalog)
        assert [item.store for item in catalog.generations()] == ["lancedb://elsewhere", ""]
        assert catalog.generations()[0] == made

    def test_a_backfill_can_be_paused(self, catalog: Catalog) -> None:
        """The reason is kept until the pause ends; a generation that is not there cannot be paused."""
        number = make_generation(catalog).number
        catalog.pause(number, "ann: the provider is down")
        assert catalog.generations()[0].paused == "ann: the provider is down"
        catalog.pause(number, None)
        assert catalog.generations()[0].paused is None
        with pytest.raises(NotFound):
            catalog.pause(number + 1, "typing error")

    def test_evaluations_are_kept(self, catalog: Catalog) -> None:
        """Newest first, of one generation or of all, with their JSON word for word."""
        about: dict[str, Any] = {"against": 1, "verdict": "hold", "fingerprint": "f", "head": 7, "at": 5.0}
        first = catalog.record_evaluation(ALIAS, 2, **about, result={"verdict": "hold", "text": "ä\n"})
        second = catalog.record_evaluation(ALIAS, 3, **{**about, "against": None}, result={})
        catalog.record_evaluation("another", 2, **about, result={})
        found = catalog.evaluations(ALIAS)
        assert [item.id for item in found] == [second, first]
        assert found[0].against is None
        assert (found[1].verdict, found[1].head, found[1].against, found[1].evaluated_at) == ("hold", 7, 1, 5.0)
        assert found[1].result == {"verdict": "hold", "text": "ä\n"}
        assert [item.id for item in catalog.evaluations(ALIAS, 2)] == [first]
        assert [item.id for item in catalog.evaluations(ALIAS, limit=1)] == [second]

    def test_a_switch_names_its_evaluation(self, catalog: Catalog) -> None:
        """History tells what a promotion rested on, and whether the gate was overruled."""
        first, second = make_generation(catalog).number, make_generation(catalog).number
        catalog.go_live(ALIAS, first, at=1.0, reason="complete")
        assert catalog.mark_ready(second, at=2.0)
        version = catalog.route(ALIAS).version
        catalog.switch(ALIAS, second, expected=version, actor="ann", reason="must", at=3.0, evaluation=4, forced=True)
        newest, oldest = catalog.switches(ALIAS)
        assert (newest.evaluation, newest.forced) == (4, True)
        assert (oldest.evaluation, oldest.forced) == (None, False)

    def test_queries_are_logged_and_forgotten(self, catalog: Catalog) -> None:
        """Newest first, since a time, of one alias; forgetting takes the old ones only."""
        catalog.log_queries(ALIAS, [query("q1", 10.0, "naïve 'quotes'"), query("q2", 20.0)])
        catalog.log_queries("another", [query("q3", 15.0)])
        catalog.log_queries(ALIAS, [])
        assert [item.id for item in catalog.logged_queries(ALIAS)] == ["q2", "q1"]
        assert catalog.logged_queries(ALIAS, since=15.0) == [query("q2", 20.0)]
        assert catalog.logged_queries(ALIAS, limit=1) == [query("q2", 20.0)]
        catalog.forget_queries(15.0)
        assert [item.id for item in catalog.logged_queries(ALIAS)] == ["q2"]
        assert [item.id for item in catalog.logged_queries("another")] == ["q3"]

    def test_clicks_are_added_to_their_query(self, catalog: Catalog) -> None:
        """Each document once, in the order of the clicks; a query that was not logged is refused."""
        catalog.log_queries(ALIAS, [query("q1", 10.0)])
        catalog.note_clicks("q1", ["b"])
        catalog.note_clicks("q1", ["a", "b"])
        assert catalog.logged_queries(ALIAS)[0].clicked == ("b", "a")
        with pytest.raises(NotFound):
            catalog.note_clicks("q9", ["a"])

    def test_what_a_generation_has_cost(self, catalog: Catalog) -> None:
        """The sum of all runs' costs of one generation."""
        for _ in range(2):
            costs = [Cost(1, "paid", 10, 100, 0.25), Cost(2, "paid", 1, 1, 4.0)]
            catalog.record_run("sync", started=1.0, finished=2.0, result={}, costs=costs)
        assert (catalog.spent_on(1), catalog.spent_on(2), catalog.spent_on(3)) == (0.5, 8.0, 0.0)
