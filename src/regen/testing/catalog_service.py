"""Catalog cases: keys, runs that were asked for, answers that were given, the audit log."""

from __future__ import annotations

import pytest

from regen.errors import ConfigError, LeaseLost, NotFound
from regen.ports.catalog import Catalog
from regen.ports.service import ApiKey, Audited, KeptAnswer
from regen.testing.catalog_cases import ME, OTHER, CatalogHooks


def key(name: str, number: str = "1") -> ApiKey:
    """A key that may search."""
    return ApiKey(f"id{number}", name, b"digest", ("search",), ("team:docs",), 1.0, "ann", per_second=2.5)


class ServiceCases(CatalogHooks):
    """What a service relies on."""

    def test_keys_are_kept_and_revoked(self, catalog: Catalog) -> None:
        """A name is taken while its key is valid; a revoked key stays on record."""
        catalog.add_api_key(key("web"))
        assert catalog.api_keys() == [key("web")]
        with pytest.raises(ConfigError, match="already"):
            catalog.add_api_key(key("web", "2"))
        assert catalog.revoke_api_key("web", at=5.0).revoked_at == 5.0
        with pytest.raises(NotFound):
            catalog.revoke_api_key("web", at=6.0)
        catalog.add_api_key(key("web", "2"))
        assert catalog.revoke_api_key("id2", at=7.0).name == "web"
        assert [item.revoked_at for item in catalog.api_keys()] == [5.0, 7.0]

    def test_a_run_is_taken_up_by_one(self, catalog: Catalog) -> None:
        """The oldest first; what is being worked on is nobody else's, and its end is told by its owner only."""
        first = catalog.request_run("apply", {"plan": None}, actor="ann", at=1.0)
        second = catalog.request_run("evaluate", {"generation": 2}, actor="bob", at=2.0)
        assert (first.state, first.arguments, second.id > first.id) == ("queued", {"plan": None}, True)
        taken = catalog.claim_run(ME, at=3.0, stale=0.0)
        assert taken is not None
        assert (taken.id, taken.state, taken.owner, taken.attempts) == (first.id, "running", ME, 1)
        assert catalog.claim_run(OTHER, at=3.0, stale=0.0) == catalog.requested_run(second.id)
        assert catalog.claim_run(OTHER, at=3.0, stale=0.0) is None
        with pytest.raises(LeaseLost):
            catalog.beat_run(first.id, OTHER, at=4.0)
        beat = catalog.beat_run(first.id, ME, at=4.0, progress={"done": 3})
        assert (beat.progress, beat.beat_at, beat.version) == ({"done": 3}, 4.0, taken.version + 1)
        ended = catalog.finish_run(first.id, ME, at=5.0, result={"seconds": 1.5})
        assert (ended.state, ended.result, ended.error, ended.finished_at) == ("succeeded", {"seconds": 1.5}, None, 5.0)
        with pytest.raises(LeaseLost):
            catalog.finish_run(first.id, ME, at=6.0, error={"type": "late"})
        assert catalog.finish_run(second.id, OTHER, at=6.0, error={"type": "NotFound"}).state == "failed"
        assert [item.id for item in catalog.requested_runs()] == [second.id, first.id]
        assert catalog.requested_runs(unfinished=True) == []
        with pytest.raises(NotFound):
            catalog.requested_run(second.id + 1)

    def test_a_run_whose_server_is_gone_is_taken_up_again(self, catalog: Catalog) -> None:
        """Given back, of an owner known to be dead, or of one that was not heard of for too long."""
        number = catalog.request_run("sync", {}, actor="ann", at=1.0).id
        catalog.claim_run(ME, at=2.0, stale=0.0)
        catalog.release_run(number, OTHER, at=2.5)
        assert catalog.requested_run(number).state == "running"
        catalog.release_run(number, ME, at=3.0)
        assert catalog.requested_run(number).state == "queued"
        catalog.claim_run(ME, at=4.0, stale=0.0)
        again = catalog.claim_run(OTHER, at=5.0, stale=0.0, dead=[ME])
        assert again is not None
        assert (again.owner, again.attempts, again.started_at) == (OTHER, 3, 2.0)
        assert catalog.claim_run(ME, at=6.0, stale=5.0) is None
        assert catalog.claim_run(ME, at=6.0, stale=5.5) is not None

    def test_a_run_is_asked_for_once_under_one_word(self, catalog: Catalog) -> None:
        """The second request finds the first one's run."""
        first = catalog.request_run("apply", {}, actor="ann", at=1.0, once="ann/1")
        assert catalog.request_run("apply", {}, actor="ann", at=2.0, once="ann/1") == first
        assert catalog.request_run("apply", {}, actor="ann", at=2.0, once="ann/2").id != first.id

    def test_the_first_answer_is_kept(self, catalog: Catalog) -> None:
        """Of each caller and key one answer, until it is forgotten."""
        first, second = KeptAnswer("f1", 202, '{"revision":7}'), KeptAnswer("f1", 202, '{"revision":8}')
        assert catalog.kept_answer("ann", "k") is None
        assert catalog.keep_answer("ann", "k", first, at=1.0) == first
        assert catalog.keep_answer("ann", "k", second, at=2.0) == first
        assert catalog.keep_answer("bob", "k", second, at=3.0) == second
        assert catalog.kept_answer("ann", "k") == first
        assert catalog.forget_answers(2.0) == 1
        assert (catalog.kept_answer("ann", "k"), catalog.kept_answer("bob", "k")) == (None, second)

    def test_what_operators_did_is_on_record(self, catalog: Catalog) -> None:
        """Newest first, page by page, with details word for word."""
        for number in range(3):
            catalog.audit(Audited(float(number), "ann", "promote", {"generation": number, "why": "ä"}, "::1", "done"))
        found = catalog.audited(2)
        assert [item.details["generation"] for item in found] == [2, 1]
        assert (found[0].actor, found[0].origin, found[0].outcome, found[0].details["why"]) == (
            "ann",
            "::1",
            "done",
            "ä",
        )
        assert [item.at for item in catalog.audited(before=found[-1].id)] == [0.0]
