"""Room on disk: what a second generation takes while both exist, and whether it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from regen.core.recipe import Recipe
from regen.errors import StoreError
from regen.ports import CollectionSpec, SizedStore, Store

POINT_OVERHEAD: Final = 600
"""Bytes of a point beside its vector: text, ids and payload, measured with LanceDB on 500-character texts."""
UPKEEP: Final = 2
"""Compaction writes a collection anew before it removes what it replaces."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a collection of so many points takes when it is complete, and how much is free; bytes, None: unknown."""

    needed: float
    free: int | None

    @property
    def enough(self) -> bool:
        """Whether it can be built and kept up."""
        return self.free is None or self.needed * UPKEEP <= self.free

    def words(self) -> str:
        """For a plan's reader."""
        told = f"both generations together need about {_size(self.needed)} more than now, until the old one is retired"
        if self.free is None:
            return told
        return f"{told}; {_size(self.free)} are free" + ("" if self.enough else ": too little, `apply` will refuse")


def room_for(store: Store, recipe: Recipe, points: int) -> Room:
    """The room of a new generation's collection."""
    if not isinstance(store, SizedStore):
        return Room(points * (recipe.embedding.dimensions * 4 + POINT_OVERHEAD), None)
    needed = points * (store.vector_bytes(spec_of(recipe), points) + POINT_OVERHEAD)
    return Room(needed, store.free_bytes())


def require_room(store: Store, recipe: Recipe, points: int) -> None:
    """Raise StoreError, before anything is begun, when a generation of so many points would fill the disk."""
    room = room_for(store, recipe, points)
    if not room.enough:
        raise StoreError(
            f"too little disk for a second generation: {points:,} chunks need about {_size(room.needed)}, and as much "
            f"again for upkeep; {_size(room.free or 0)} are free",
            hint="free some space, `regen gc --retire` a generation that is not needed, or ask for fewer dimensions or "
            "a lower precision; nothing was begun, and the live generation goes on serving",
        )


def spec_of(recipe: Recipe, fields: dict[str, Any] | None = None) -> CollectionSpec:
    """What a recipe's collection is made with."""
    part = recipe.embedding
    return CollectionSpec(part.dimensions, recipe.metric, fields or {}, dict(recipe.index), part.precision)


def _size(count: float) -> str:
    """``3 kB``, ``12.4 MB``, ``1.2 GB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"
