"""What somebody types into the search form, read as arguments of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from regen.core.documents import UNRESTRICTED, Unrestricted
from regen.core.results import SearchResult
from regen.core.where import parse_conditions
from regen.errors import ConfigError
from regen.index import Index
from regen.server.access import Caller

MOST_HITS: Final = 100


@dataclass(frozen=True, slots=True)
class Question:
    """A search as its form has it. ``text`` and the rest are as typed; ``problems`` tell by field what is wrong."""

    text: str = ""
    k: str = "10"
    who: str = ""
    conditions: str = ""
    generation: str = ""
    against: str = ""
    everyone: bool = False
    rerank: bool = True
    problems: Mapping[str, ConfigError] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Question:
        """From the parameters of an address."""
        sent = "q" in given
        return cls(
            text=given.get("q", ""),
            k=given.get("k", "10"),
            who=given.get("as", ""),
            conditions=given.get("where", ""),
            generation=given.get("generation", ""),
            against=given.get("against", ""),
            everyone=given.get("everyone") == "on",
            rerank=not sent or given.get("rerank") == "on",
        )

    @property
    def asked(self) -> bool:
        """Whether there is something to search for."""
        return bool(self.text.strip())

    def arguments(self, caller: Caller) -> dict[str, Any]:
        """As keywords of ``Index.search``. Raises WrongField, Forbidden."""
        return {
            "k": self._number("k", self.k, 1, MOST_HITS),
            "where": self._where(),
            "principals": self._principals(caller),
            "rerank": self.rerank,
        }

    def number_of(self, name: str, index: Index) -> int | None:
        """A generation that was chosen: one of the current ones, or None. Raises WrongField."""
        typed = str(getattr(self, name))
        if not typed:
            return None
        known = [str(item.number) for item in index.status().generations]
        if typed not in known:
            raise WrongField(name, f"there is no generation {typed!r} to search", f"there are: {', '.join(known)}")
        return int(typed)

    def _number(self, name: str, typed: str, least: int, most: int) -> int:
        try:
            number = int(typed)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise WrongField(name, f"{typed[:40]!r} hits cannot be asked for", f"a whole number from {least} to {most}")
        return number

    def _where(self) -> Mapping[str, Any]:
        lines = [line for line in self.conditions.replace(";", "\n").splitlines() if line.strip()]
        try:
            return parse_conditions(lines)
        except ConfigError as error:
            raise WrongField("where", error.message, error.hint) from None

    def _principals(self, caller: Caller) -> frozenset[str] | Unrestricted:
        if not caller.may("act_as"):
            return caller.principals
        if self.everyone:
            return UNRESTRICTED
        return frozenset(part.strip() for part in self.who.replace("\n", ",").split(",") if part.strip())


class WrongField(ConfigError):
    """A field of a form that cannot be used as it is."""

    def __init__(self, name: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = name


@dataclass(frozen=True, slots=True)
class Place:
    """One hit beside where the other generation has its document: ``move`` is ``new``, ``↑ 3``, ``↓ 2``, or nothing."""

    rank: int
    hit: Any
    move: str


def placed(result: SearchResult, other: SearchResult | None) -> list[Place]:
    """Hits with their ranks, and how their documents moved against the other result."""
    before: dict[str, int] = {}
    for rank, hit in enumerate(other.hits if other else (), start=1):
        before.setdefault(hit.doc_id, rank)
    seen: set[str] = set()
    places = []
    for rank, hit in enumerate(result.hits, start=1):
        first = hit.doc_id not in seen
        seen.add(hit.doc_id)
        places.append(Place(rank, hit, _move(before.get(hit.doc_id), rank) if other and first else ""))
    return places


def _move(old: int | None, new: int) -> str:
    if old is None:
        return "new"
    return "" if old == new else f"↑ {old - new}" if old > new else f"↓ {new - old}"


def agreement(one: SearchResult, other: SearchResult) -> tuple[int, int]:
    """How many documents both results have, and how many there are in all."""
    mine, theirs = ({hit.doc_id for hit in result.hits} for result in (one, other))
    return len(mine & theirs), len(mine | theirs)
