"""Catalog cases: what people look back at."""

from __future__ import annotations

from typing import Any

from regen.core.documents import Document
from regen.ports.catalog import Catalog, Cost
from regen.ports.insight import Spent
from regen.testing.catalog_cases import (
    ALIAS,
    CatalogHooks,
    lease,
    letter,
    log,
    make_generation,
    numbered,
    place_all,
    placed_catalog,
)


class InsightCases(CatalogHooks):
    """How quickly changes became searchable, what was spent and placed, and when."""

    def test_changes_become_searchable(self, catalog: Catalog) -> None:
        """Only what was logged since the generation was complete counts, from the source's time on, oldest first."""
        number, held = placed_catalog(catalog, *numbered(3))
        catalog.go_live(ALIAS, number, at=210.0, reason="complete")
        log(catalog, Document("new", "text", updated_at=290.0), at=300.0)
        place_all(catalog, number, held, at=302.0)
        log(catalog, Document("d1", "edited"), at=310.0)
        place_all(catalog, number, held, at=311.0)
        found = catalog.searchable(number, since=0.0)
        assert [(item.at, item.seconds) for item in found] == [(302.0, 12.0), (311.0, 1.0)]
        assert catalog.searchable(number, since=305.0) == found[1:]
        assert catalog.searchable(number, since=0.0, limit=1) == found[1:]
        assert catalog.searchable(number + 1, since=0.0) == []

    def test_the_account_over_time(self, catalog: Catalog) -> None:
        """Entries since a time, oldest first, each at its last call."""
        first = catalog.pay(None, Cost(1, "hashing/8", 2, 20, 0.5), at=10.0)
        catalog.pay(None, Cost(2, "other/8", 1, 10, 0.25), at=20.0)
        catalog.pay(first, Cost(1, "hashing/8", 1, 1, 0.5), at=30.0)
        late = Spent(30.0, 1, "hashing/8", 3, 21, 1.0)
        assert catalog.spent(since=0.0) == [Spent(20.0, 2, "other/8", 1, 10, 0.25), late]
        assert catalog.spent(since=20.5) == [late]
        assert catalog.spent(since=0.0, limit=1) == [late]

    def test_what_was_placed_lately(self, catalog: Catalog) -> None:
        """Documents and chunks of one generation, and the times of the first and last."""
        number, held = placed_catalog(catalog, *numbered(4))
        log(catalog, Document("new", "text"))
        place_all(catalog, number, held, at=250.0)
        found = catalog.filled(number, since=0.0)
        assert (found.documents, found.chunks, found.first_at, found.last_at) == (5, 5, 200.0, 250.0)
        assert catalog.filled(number, since=240.0).documents == 1
        empty = catalog.filled(number, since=260.0)
        assert (empty.documents, empty.chunks, empty.first_at) == (0, 0, None)

    def test_one_documents_letters(self, catalog: Catalog) -> None:
        """Those of the source and of every generation, and nobody else's."""
        log(catalog, *numbered(2))
        number = make_generation(catalog).number
        lease(catalog)
        catalog.bury([letter("d0", None, 1, "unreadable"), letter("d0", number, 1), letter("d1", number, 2)])
        found = catalog.letters_of("d0")
        assert [(item.generation, item.reason) for item in found] == [(None, "unreadable"), (number, "bad text")]
        assert catalog.letters_of("nobody") == []

    def test_one_evaluation_by_its_id(self, catalog: Catalog) -> None:
        """Of this alias; None for any other."""
        about: dict[str, Any] = {"against": 1, "verdict": "hold", "fingerprint": "f", "head": 7, "at": 5.0}
        first = catalog.record_evaluation(ALIAS, 2, **about, result={"verdict": "hold"})
        catalog.record_evaluation(ALIAS, 3, **about, result={})
        found = catalog.evaluation(ALIAS, first)
        assert found is not None
        assert (found.generation, found.result) == (2, {"verdict": "hold"})
        assert catalog.evaluation("another", first) is None
        assert catalog.evaluation(ALIAS, first + 100) is None
