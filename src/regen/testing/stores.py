"""The conformance suite for stores: every clause of the port as a test.

    from regen.testing.stores import StoreConformance

    class TestMyStore(StoreConformance):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "vectors")

        def another_handle(self, tmp_path):        # leave out for a store whose data has one handle only
            return MyStore(tmp_path / "vectors")

        def joint_catalog(self, tmp_path):         # only for a store that can write in a catalog's transactions
            return open_my_catalog(tmp_path / "vectors")

        def url(self, tmp_path):                   # leave out for a store that another process cannot open
            return f"mystore://{tmp_path}/vectors"

What a store cannot do at all it declares in the class: ``orders_strings``, ``atomic_batches``, ``longest_text``,
``one_process``. Cases for a power that the store lacks are skipped and say so. Needs pytest and Hypothesis
(``regen[test]``).
"""

from __future__ import annotations

from regen.ports import Store
from regen.testing.store_cases import StoreHooks
from regen.testing.store_crashes import CrashCases
from regen.testing.store_filters import FilterCases
from regen.testing.store_keywords import KeywordStoreCases
from regen.testing.store_powers import (
    AliasStoreCases,
    FieldStoreCases,
    HandleCases,
    MaintainedStoreCases,
    PayloadStoreCases,
)
from regen.testing.store_precision import PrecisionCases
from regen.testing.store_reads import ReadCases, SearchCases
from regen.testing.store_transactions import TransactionalStoreCases
from regen.testing.store_writes import CollectionCases, RefusalCases, WriteCases

__all__ = ["StoreConformance", "StoreHooks"]


class StoreConformance(
    CollectionCases,
    WriteCases,
    RefusalCases,
    SearchCases,
    ReadCases,
    PrecisionCases,
    FilterCases,
    PayloadStoreCases,
    FieldStoreCases,
    AliasStoreCases,
    KeywordStoreCases,
    MaintainedStoreCases,
    TransactionalStoreCases,
    HandleCases,
    CrashCases,
):
    """All store cases."""

    def test_it_is_a_store(self, store: Store) -> None:
        """The object has the port's methods."""
        assert isinstance(store, Store)
