"""What the parts of the demo are made of: steps, their checks, and where a document ranks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from regen.cli.quantities import counted
from regen.core.results import SearchResult, SyncResult

_LONGEST_QUESTION: Final = 44


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation, in words, and whether it held."""

    passed: bool
    text: str


@dataclass(slots=True)
class Step:
    """One thing done: what, to what, at what cost, what else to tell, and what was then checked."""

    name: str
    done: str
    result: SyncResult | None = None
    checks: list[Check] = field(default_factory=list)
    search: SearchResult | None = None
    told: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every expectation held."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "step": self.name,
            "done": self.done,
            "cost": None if self.result is None else self.result.to_dict(),
            "told": self.told,
            "checks": [asdict(check) for check in self.checks],
        }


def rank_of(found: SearchResult, doc_id: str, *, saying: str = "", children: bool = False) -> int | None:
    """The rank of the first hit that is of a document and says this, None when no hit is.

    With ``children`` a hit of a part of it will do, as ``json.loads`` is of ``json``.
    """
    for rank, hit in enumerate(found.hits, start=1):
        named = hit.doc_id == doc_id or (children and hit.doc_id.startswith(f"{doc_id}."))
        if named and saying in " ".join(hit.text.split()):
            return rank
    return None


def found(question: str, rank: int | None) -> Check:
    """That a question finds what it asks for."""
    return Check(
        rank is not None, f"{quoted(question)} finds it, rank {rank}" if rank else f"{quoted(question)}: not found"
    )


def not_found(question: str, rank: int | None, who: str = "") -> Check:
    """That a question finds it no more."""
    asked = f"{who} asks {quoted(question)}" if who else quoted(question)
    return Check(rank is None, f"{asked}: not found" if rank is None else f"{asked}: STILL FOUND, rank {rank}")


def free(result: SyncResult) -> Check:
    """That nothing was sent to the model."""
    return Check(result.embedded_texts == 0, f"{embedded(result)}")


def embedded(result: SyncResult) -> str:
    """``3 texts embedded``."""
    return f"{counted(result.embedded_texts, 'text')} embedded"


def quoted(question: str) -> str:
    """A question in quotation marks, cut where it is long."""
    return f"“{question if len(question) <= _LONGEST_QUESTION else question[: _LONGEST_QUESTION - 1] + '…'}”"
