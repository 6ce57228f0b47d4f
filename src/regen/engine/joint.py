"""Catalog and store in one database: what both write is one transaction, if both have the power and share the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from regen.ports import Store
from regen.ports.catalog import Catalog
from regen.ports.transactions import StoreWriter, TransactionalCatalog, TransactionalStore

T = TypeVar("T")
_TOKENS_AT_ONCE: Final = 32


@dataclass(slots=True)
class Joint:
    """A catalog and a store that write together."""

    catalog: TransactionalCatalog
    store: TransactionalStore
    _tokens: range = field(default=range(0))

    @classmethod
    def of(cls, catalog: Catalog, store: Store) -> Joint | None:
        """The two as one, or None where they cannot be. Raises CatalogError or StoreError when one is out of reach."""
        if not isinstance(catalog, TransactionalCatalog) or not isinstance(store, TransactionalStore):
            return None
        return cls(catalog, store) if catalog.database() == store.database() else None

    def run(self, work: Callable[[StoreWriter], T], *, switching: bool = False) -> T:
        """Run ``work``, which may be run again, in one transaction of both; see ``TransactionalCatalog.together``."""
        return self.catalog.together(lambda transaction: work(self.store.within(transaction)), switching=switching)

    def token(self) -> int:
        """A write token of its own. They are taken by the dozen: one a transaction would make writers wait in a row."""
        if not self._tokens:
            # A single push needs one; who comes again is writing much.
            count = _TOKENS_AT_ONCE if self._tokens.stop else 1
            first = self.catalog.reserve_tokens(count)
            self._tokens = range(first, first + count)
        token, self._tokens = self._tokens[0], self._tokens[1:]
        return token
