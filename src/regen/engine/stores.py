"""In which store each generation lies: the configured one, or another that an older generation was built in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from regen.core.recipe import Recipe
from regen.core.transition import without_credentials
from regen.errors import ConfigError, RegenError, StoreError
from regen.ports import Store
from regen.ports.catalog import Generation

UNREACHABLE: Final = (StoreError, ConfigError)
"""What is raised when a generation's store fails, or cannot even be opened here: a library that is not installed."""


@dataclass(slots=True)
class Stores:
    """The configured store and those of generations that lie elsewhere, each opened when it is first asked for.

    Who only looks at the catalog need not load a store's library, which takes longer than all else together.

    ``name`` is the configured store's URL, empty for a store that was handed in as an object: such a store is the one
    of all generations that name none. ``open_store`` opens the store of a URL, ``opened`` are those that are open.
    """

    name: str
    open_store: Callable[[str], Store]
    opened: dict[str, Store] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def configured(self) -> Store:
        """The configured store. Raises ConfigError or StoreError when it cannot be opened."""
        return self._of(self.name)

    @configured.setter
    def configured(self, store: Store) -> None:
        self.opened[self.name] = store

    def of(self, generation: Generation) -> Store:
        """The store that holds a generation's collection. Raises ConfigError or StoreError when it cannot be opened."""
        return self.configured if self.holds(generation) else self._of(generation.store)

    def _of(self, url: str) -> Store:
        with self._lock:
            if url not in self.opened:
                self.opened[url] = self.open_store(url)
            return self.opened[url]

    def holds(self, generation: Generation) -> bool:
        """Whether a generation lies in the configured store."""
        return not generation.store or generation.store == self.name

    def fits(self, generation: Generation, recipe: Recipe) -> bool:
        """Whether a generation is what is asked for: of this recipe, in the configured store."""
        return generation.recipe.fingerprint == recipe.fingerprint and self.holds(generation)

    def require_ours(self, prefix: str, known: Sequence[Generation]) -> None:
        """Raise StoreError if the configured store holds a collection that the next generations would take for theirs.

        Two indexes of one alias in one store would write into, and clean up, each other's collections.
        """
        newest = max((generation.number for generation in known), default=0)
        for name in self.configured.collections():
            number = name.removeprefix(f"{prefix}_g")
            if name != number and number.isdigit() and int(number) > newest:
                raise StoreError(
                    f"the store {without_credentials(self.name)} holds {name}, which is of another index of this "
                    "alias, or of this one before its catalog was lost",
                    hint="choose another alias or another store.url; or drop that collection if nobody needs it",
                )

    def close(self) -> None:
        """Close all of them. Idempotent."""
        for store in self.opened.values():
            store.close()


def behind_the_others(
    failures: Sequence[tuple[Generation, Exception]], tried: Sequence[Generation], notes: Sequence[str] = ()
) -> Exception:
    """The first failure, saying which generations it leaves behind, which are in step in spite of it, and the notes."""
    error = failures[0][1]
    failed = [generation.number for generation, _ in failures]
    well = [generation.told for generation in tried if generation.number not in failed]
    if isinstance(error, RegenError) and len(tried) > 1:
        told = ", ".join(generation.told for generation, _ in failures)
        verbs = "is in step and goes on" if len(well) == 1 else "are in step and go on"
        rest = f"{', '.join(well)} {verbs}" if well else "none of the others fared better"
        error.message = f"{told} could not be brought in step; {rest}: {error.message}"
        error.message = "; ".join([error.message, *notes])
        if retained := [generation.number for generation, _ in failures if generation.state == "retained"]:
            given_up = f"`regen gc --retire {retained[0]}` gives generation {retained[0]} up"
            error.hint = f"{error.hint}; or {given_up}" if error.hint else given_up
    return error
