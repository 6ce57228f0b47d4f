"""Catalog cases for what a store of the same database needs: one transaction for both, and commits without garbage."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import pytest

from regen.core.documents import Document
from regen.errors import AliasMoved, LeaseLost
from regen.ports.catalog import Catalog
from regen.ports.transactions import TransactionalCatalog
from regen.testing.catalog_cases import (
    ALIAS,
    ME,
    OTHER,
    CatalogHooks,
    behind,
    keys_of,
    lease,
    log,
    make_generation,
    numbered,
    placed_catalog,
    placement_of,
)


class JointCatalog(Catalog, TransactionalCatalog, Protocol):
    """A catalog with the power."""


class CollectedCases(CatalogHooks):
    """``commit_write(collected=True)``: whoever calls deletes the points itself."""

    def test_no_garbage_is_kept(self, catalog: Catalog) -> None:
        """Neither of what was replaced nor of what moved on; readers are told that points ceased to be named."""
        number, held = placed_catalog(catalog, *numbered(3))
        log(catalog, Document("d0", "second"), Document("d1", "second"))
        catalog.tombstone(["d2"], at=3.0)
        works = behind(catalog, number)
        log(catalog, Document("d0", "third"))
        before = catalog.drops()
        new = [placement_of(work, 7) for work in works]
        done = catalog.commit_write(number, None, new, held, at=2.0, collected=True)
        assert done == {works[1].doc_key, works[2].doc_key}
        assert catalog.garbage(number) == []
        assert catalog.drops() > before
        assert keys_of(behind(catalog, number)) == ["d0"]

    def test_nothing_dropped_disturbs_no_reader(self, catalog: Catalog) -> None:
        """Documents that are only added make no reader look again."""
        number, held = make_generation(catalog).number, lease(catalog)
        log(catalog, *numbered(2))
        before = catalog.drops()
        new = [placement_of(work, 7) for work in behind(catalog, number)]
        assert len(catalog.commit_write(number, None, new, held, at=2.0, collected=True)) == 2
        assert catalog.drops() == before


class TransactionCases(CatalogHooks):
    """:class:`~regen.ports.transactions.TransactionalCatalog`."""

    @pytest.fixture
    def joint(self, catalog: Catalog) -> JointCatalog:
        """Give back the catalog as one with this power, or skip the case."""
        if not isinstance(catalog, TransactionalCatalog):
            pytest.skip(f"{type(catalog).__name__} does not offer TransactionalCatalog")
        return catalog

    def test_all_of_it_or_nothing(self, joint: JointCatalog, second: Catalog) -> None:
        """Others see nothing until it is over, we see all; and what is taken back was never there."""
        number, held = placed_catalog(joint, *numbered(2))
        log(joint, Document("d0", "second"))
        works = behind(joint, number)

        def work(_: object) -> int:
            joint.commit_write(number, None, [placement_of(works[0], 7)], held, at=2.0, collected=True)
            joint.keep_probes(number, b"x")
            assert (keys_of(behind(joint, number)), keys_of(behind(second, number))) == ([], ["d0"])
            assert (joint.probes(number), second.probes(number)) == (b"x", None)
            return 5

        def failing(transaction: object) -> int:
            work(transaction)
            raise LookupError

        with pytest.raises(LookupError):
            joint.together(failing)
        assert (keys_of(behind(joint, number)), joint.probes(number)) == (["d0"], None)
        assert joint.together(work) == 5
        assert (keys_of(behind(second, number)), second.probes(number)) == ([], b"x")

    def test_a_lost_lease_takes_all_back(self, joint: JointCatalog) -> None:
        """Whatever came before its check in the same transaction."""
        number, held = placed_catalog(joint, *numbered(1))
        log(joint, Document("d0", "second"))
        works = behind(joint, number)
        lease(joint, OTHER, at=1_000.0)

        def work(_: object) -> None:
            joint.keep_probes(number, b"x")
            joint.commit_write(number, None, [placement_of(works[0], 7)], held, at=2.0, collected=True)

        with pytest.raises(LeaseLost):
            joint.together(work)
        assert joint.probes(number) is None
        assert lease(joint, ME, at=2_000.0).owner == ME

    def test_only_this_threads_calls_are_part_of_it(self, joint: JointCatalog) -> None:
        """Another thread's calls on the same object commit by themselves."""
        number = make_generation(joint).number

        def work(_: object) -> None:
            joint.amend_recipe(number, joint.generations()[0].recipe)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(log, joint, Document("of another", "x")).result(10)
            raise LookupError

        with pytest.raises(LookupError):
            joint.together(work)
        assert joint.alive() == 1

    def test_tokens_are_never_given_twice(self, joint: JointCatalog) -> None:
        """Neither those that were reserved nor those of writes with an intent."""
        number, held = make_generation(joint).number, lease(joint)
        given = [joint.begin_write(number, b"", held, at=1.0)]
        for count in (1, 5, 2):
            first = joint.reserve_tokens(count)
            given += [*range(first, first + count), joint.begin_write(number, b"", held, at=1.0)]
        assert len(set(given)) == 12

    def test_nobody_else_moves_an_alias_meanwhile(self, joint: JointCatalog, second: Catalog) -> None:
        """Who reads where it points, in a transaction that switches, can rest on it until the end."""
        first, other = (make_generation(joint).number for _ in range(2))
        joint.go_live(ALIAS, first, at=1.0, reason="complete")
        joint.mark_ready(other, at=2.0)
        version = joint.route(ALIAS).version

        def switch(actor: str, catalog: Catalog) -> None:
            catalog.switch(ALIAS, other, expected=version, actor=actor, reason="race", at=3.0)

        with ThreadPoolExecutor(1) as pool:

            def work(_: object) -> None:
                assert joint.route(ALIAS).live == first
                late.append(pool.submit(switch, "second", second))
                switch("first", joint)

            late: list[object] = []
            joint.together(work, switching=True)
        with pytest.raises(AliasMoved):
            late[0].result(30)  # type: ignore[attr-defined]
        assert joint.switches(ALIAS)[0].actor == "first"

    def test_a_change_is_caught_up_with_or_finds_the_generation_ready(
        self, joint: JointCatalog, second: Catalog
    ) -> None:
        """Else it would be missing from a generation that is promoted: neither who fills it nor who wrote brings it."""
        first, other = (make_generation(joint).number for _ in range(2))
        joint.go_live(ALIAS, first, at=1.0, reason="complete")

        def write() -> dict[int, str]:
            log(second, *numbered(1))
            return {item.number: item.state for item in second.generations()}

        with ThreadPoolExecutor(1) as pool:

            def work(_: object) -> None:
                assert joint.mark_ready(other, at=2.0)
                late.append(pool.submit(write))
                with pytest.raises(TimeoutError):
                    late[0].result(0.5)

            late: list[Future[dict[int, str]]] = []
            joint.together(work)
            assert late[0].result(30)[other] == "ready"
