"""The ports of what reads and writes language: judges of answers, and writers of judged queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from regen.core.claims import Claim, Judgment

__all__ = ["Claim", "Judge", "Judgment", "Writer"]


@runtime_checkable
class Judge(Protocol):
    """Says whether answers are borne out by their passages. Deterministic as far as it can be (temperature 0)."""

    @property
    def name(self) -> str:
        """What it is and of which version: judgments of two judges are never compared."""
        ...

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """A judgment for each claim, in order. Raises JudgeError, BudgetExceeded."""
        ...


@runtime_checkable
class Writer(Protocol):
    """A language model that writes text: for making judged queries where a team has none."""

    def write(self, instructions: str, text: str) -> str:
        """What the model answers. Raises JudgeError, BudgetExceeded."""
        ...
