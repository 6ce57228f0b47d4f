"""Catalog cases: where generations lie, pauses, evaluations, the query log, and what a generation has cost."""

from __future__ import annotations

from typing import Any

import pytest

from regen.errors import AliasMoved, NotFound, NotPromotable
from regen.ports.catalog import Catalog, Cost
from regen.ports.rollouts import LoggedQuery, Rollout
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

    def test_calls_are_paid_for_one_by_one(self, catalog: Catalog) -> None:
        """What a run pays is added to its own entry, and is on the account at once."""
        first = catalog.pay(None, Cost(3, "hashing/8", 2, 20, 0.5), at=1.0)
        second = catalog.pay(None, Cost(3, "hashing/8", 1, 10, 0.25), at=1.0)
        assert catalog.pay(first, Cost(3, "hashing/8", 4, 40, 1.0), at=2.0) == first != second
        other = catalog.pay(None, Cost(4, "hashing/8", 1, 1, 8.0), at=3.0)
        assert other not in {first, second}
        assert (catalog.spent_on(3), catalog.spent_on(4), catalog.total_cost()) == (1.75, 8.0, 9.75)

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
        found = catalog.logged_query("q1")
        assert found is not None
        assert found.clicked == ("b", "a")
        assert catalog.logged_query("q9") is None

    def test_queries_of_a_rollout(self, catalog: Catalog) -> None:
        """What a search was part of is kept, and can be asked for by rollout and time."""
        part = LoggedQuery("q2", "text", 2, ("a", "b"), (), 20.0, 7, "candidate", 1.5, True, ("baseline", None))
        catalog.log_queries(ALIAS, [query("q1", 10.0), part, query("q3", 30.0)])
        assert catalog.logged_queries(ALIAS, rollout=7) == [part]
        assert catalog.logged_queries(ALIAS, rollout=7, until=20.0) == []
        assert [item.id for item in catalog.logged_queries(ALIAS, since=10.0, until=30.0)] == ["q2", "q1"]


def start(catalog: Catalog, candidate: int, **more: Any) -> Rollout:
    """Begin a canary of a generation."""
    given = {"weight": 0.1, "settings": {"interval": 60}, "state": {}, "actor": "ann", "reason": "try", "at": 5.0}
    return catalog.start_rollout(ALIAS, "canary", candidate, **{**given, **more})


class RolloutCases(CatalogHooks):
    """How searches are answered while two generations serve."""

    def ready(self, catalog: Catalog) -> tuple[int, int]:
        """A live generation and a ready one."""
        first, second = make_generation(catalog).number, make_generation(catalog).number
        catalog.go_live(ALIAS, first, at=1.0, reason="complete")
        catalog.mark_ready(second, at=2.0)
        return first, second

    def test_a_rollout_is_what_the_alias_names(self, catalog: Catalog) -> None:
        """A search that reads the alias sees it, and sees every change of it."""
        _, second = self.ready(catalog)
        assert (catalog.route(ALIAS).rollout, catalog.rollout(ALIAS)) == (None, None)
        begun = start(catalog, second)
        assert catalog.rollout(ALIAS) == begun
        assert (catalog.route(ALIAS).rollout, catalog.route(ALIAS).rollout_version) == (begun.id, begun.version)
        changed = catalog.change_rollout(begun, at=6.0, weight=0.5, state={"step": 1}, reason="step up")
        assert (changed.weight, changed.state, changed.reason, changed.changed_at) == (0.5, {"step": 1}, "step up", 6.0)
        assert changed.settings == begun.settings
        assert catalog.route(ALIAS).rollout_version == changed.version != begun.version

    def test_one_rollout_at_a_time(self, catalog: Catalog) -> None:
        """A second one is refused, also while the first is paused, until that has ended."""
        _, second = self.ready(catalog)
        begun = start(catalog, second)
        with pytest.raises(NotPromotable):
            start(catalog, second)
        paused = catalog.change_rollout(begun, at=6.0, status="paused")
        with pytest.raises(NotPromotable):
            start(catalog, second)
        catalog.change_rollout(paused, at=7.0, status="aborted", weight=0.0, reason="worse")
        assert catalog.route(ALIAS).rollout is None
        assert start(catalog, second).id != begun.id
        assert [item.status for item in catalog.rollouts(ALIAS)] == ["running", "aborted"]

    def test_changes_are_compared_and_swapped(self, catalog: Catalog) -> None:
        """Of two who saw the same version, the second changes nothing."""
        _, second = self.ready(catalog)
        begun = start(catalog, second)
        catalog.change_rollout(begun, at=6.0, weight=0.2)
        with pytest.raises(AliasMoved):
            catalog.change_rollout(begun, at=7.0, weight=0.9)
        found = catalog.rollout(ALIAS)
        assert found is not None
        assert found.weight == 0.2

    def test_a_switch_ends_the_rollout(self, catalog: Catalog) -> None:
        """Whoever moves the alias itself has decided: in the same transaction nothing is divided any more."""
        _, second = self.ready(catalog)
        begun = start(catalog, second)
        version = catalog.route(ALIAS).version
        catalog.switch(ALIAS, second, expected=version, actor="ann", reason="promoted", at=9.0)
        assert (catalog.route(ALIAS).rollout, catalog.rollout(ALIAS)) == (None, None)
        ended = catalog.rollouts(ALIAS)[0]
        assert (ended.id, ended.status, ended.reason) == (begun.id, "ended", "promoted")
        with pytest.raises(AliasMoved):
            catalog.change_rollout(begun, at=10.0, weight=1.0)

    def test_a_bridge_ends_with_the_backfill(self, catalog: Catalog) -> None:
        """What was a stop-gap until a generation is complete ends with that, in one transaction; nothing else does."""
        catalog.go_live(ALIAS, make_generation(catalog).number, at=1.0, reason="complete")
        second, third = make_generation(catalog).number, make_generation(catalog).number
        catalog.start_rollout(
            ALIAS, "bridge", second, weight=0.5, settings={}, state={}, actor="ann", reason="try", at=5.0
        )
        catalog.mark_ready(third, at=6.0)
        assert catalog.rollout(ALIAS) is not None, "another generation's backfill"
        catalog.mark_ready(second, at=7.0)
        assert (catalog.route(ALIAS).rollout, catalog.rollout(ALIAS)) == (None, None)
        assert (catalog.rollouts(ALIAS)[0].status, catalog.rollouts(ALIAS)[0].changed_at) == ("ended", 7.0)
        catalog.start_rollout(
            ALIAS, "rolling", third, weight=1.0, settings={}, state={}, actor="ann", reason="try", at=8.0
        )
        catalog.mark_ready(third, at=9.0)
        assert catalog.rollout(ALIAS) is not None, "a merged list goes on: it is the new generation's"

    def test_nothing_serves_beside_itself(self, catalog: Catalog) -> None:
        """The live generation is no candidate, and without a live one there is nothing to divide."""
        number = make_generation(catalog).number
        with pytest.raises(NotPromotable):
            start(catalog, number)
        catalog.go_live(ALIAS, number, at=1.0, reason="complete")
        with pytest.raises(NotPromotable):
            start(catalog, number)

    def test_what_a_generation_has_cost(self, catalog: Catalog) -> None:
        """The sum of all runs' costs of one generation."""
        for _ in range(2):
            costs = [Cost(1, "paid", 10, 100, 0.25), Cost(2, "paid", 1, 1, 4.0)]
            catalog.record_run("sync", started=1.0, finished=2.0, result={}, costs=costs)
        assert (catalog.spent_on(1), catalog.spent_on(2), catalog.spent_on(3)) == (0.5, 8.0, 0.0)
