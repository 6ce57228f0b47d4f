"""The console's sections: what the navigation lists, and the keys that lead there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from regen.index import Index


@dataclass(frozen=True, slots=True)
class Section:
    """One entry of the navigation. ``keys`` are pressed one after the other; ``apart`` begins a group."""

    name: str
    label: str
    path: str
    keys: str
    apart: bool = False
    count: str = ""


SECTIONS: Final[Sequence[Section]] = (
    Section("overview", "Overview", "/console", "g o"),
    Section("search", "Search", "/console/search", "g s"),
    Section("generations", "Generations", "/console/generations", "g g"),
    Section("evaluation", "Evaluation", "/console/evaluation", "g e"),
    Section("plan", "Plan", "/console/plan", "g p", apart=True),
    Section("backfill", "Backfill", "/console/backfill", "g b"),
    Section("rollout", "Rollout", "/console/rollout", "g c"),
    Section("letters", "Dead letters", "/console/letters", "g d"),
    Section("history", "History", "/console/history", "g h", apart=True),
    Section("settings", "Settings", "/console/settings", "g ,"),
)


def shown_sections(index: Index) -> list[Section]:
    """All sections, with how many dead letters wait."""
    letters = len(index.dead_letters(limit=100))
    told = "99+" if letters > 99 else str(letters) if letters else ""
    return [replace(item, count=told) if item.name == "letters" else item for item in SECTIONS]
