"""One database for both: where a store lies in the catalog's, what each of them writes commits as one, or not at all.

Both powers are optional. A store in a database of its own, or a catalog that cannot share one, is written to by intent,
store, placement and garbage (``engine/write.py``); readers see no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from regen.ports import Points

T = TypeVar("T")


class StoreWriter(Protocol):
    """The part of a store that writes points, within a transaction of the catalog's.

    What further powers that part has (``InsertStore``, ``PayloadStore``, ``AliasStore``) is asked with ``isinstance``.
    """

    def upsert(self, collection: str, points: Points) -> None:
        """As :meth:`regen.ports.Store.upsert`; seen by others when the transaction is committed."""
        ...

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """As :meth:`regen.ports.Store.delete`; seen by others when the transaction is committed."""
        ...


@runtime_checkable
class TransactionalStore(Protocol):
    """A store that can write within a transaction of a catalog that lies in the same database."""

    def database(self) -> str:
        """Which database, of which server, as which user: equal to a catalog's where the two can write together."""
        ...

    def within(self, transaction: object) -> StoreWriter:
        """The store's writing half on a transaction that :meth:`TransactionalCatalog.together` has handed out."""
        ...


@runtime_checkable
class TransactionalCatalog(Protocol):
    """A catalog in whose transactions a store of the same database can take part."""

    def database(self) -> str:
        """Which database, of which server, as which user."""
        ...

    def together(self, work: Callable[[object], T], *, switching: bool = False) -> T:
        """Run ``work`` in one transaction; what it asks of this catalog in this thread is a part of that.

        It is handed the transaction, for :meth:`TransactionalStore.within`. When this returns all of it is committed;
        when something is raised none of it is. It is run again when others were in its way, so it must leave nothing
        else behind. With ``switching`` nobody else moves an alias meanwhile.
        """
        ...

    def reserve_tokens(self, count: int) -> int:
        """The first of so many write tokens in a row, which nobody is given again: for writes that need no intent."""
        ...
