"""What a lease is a right to. The names are made and read here alone; those who wait for one are shown them."""

from __future__ import annotations

from typing import Final

_LOG, _PLACE, _REMOVE, _TEND, _SCHEDULE = "index ", "generation ", "garbage of ", "upkeep of ", "schedule of "
_WRITERS: Final = (_LOG, _PLACE, _REMOVE)


def to_log(alias: str) -> str:
    """Append to the change log, and add generations."""
    return f"{_LOG}{alias}"


def to_place(generation: int, alias: str) -> str:
    """Write one generation, all of it; a range of it is named after this."""
    return f"{_PLACE}{generation} of {alias}"


def to_remove(generation: int, alias: str) -> str:
    """Remove what no placement of a generation names any more, beside those who share it."""
    return f"{_REMOVE}{to_place(generation, alias)}"


def to_tend(generation: int, alias: str) -> str:
    """Compact a generation's collection, and build its indexes."""
    return f"{_TEND}{to_place(generation, alias)}"


def to_schedule(alias: str) -> str:
    """Run an index's jobs by the clock."""
    return f"{_SCHEDULE}{alias}"


def is_writers(name: str) -> bool:
    """Whether who holds it logs, places or removes: not one who tends a collection, or keeps a schedule."""
    return name.startswith(_WRITERS)
