"""An answer with its passages, what a judge says of it, and how it is read: sentence by sentence."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from regen.core.prose import sentence_starts


@dataclass(frozen=True, slots=True)
class Claim:
    """One answer, or one sentence of it, with the passages that were given to whoever wrote it."""

    question: str
    answer: str
    passages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgment:
    """What a judge says of a claim: ``faithful`` and ``uses_sources`` are shares from 0 to 1.

    ``faithful`` is the share of the answer's sentences that claim something and are borne out by a passage;
    ``uses_sources`` the share of the passages that the answer draws on.
    """

    faithful: float
    uses_sources: float
    reason: str = ""
    cost_usd: float = 0.0


def sentences_of(answer: str) -> list[str]:
    """The sentences of an answer, stripped, none empty; a list item counts as a sentence."""
    starts = [0, *sentence_starts(answer, 0, len(answer)), len(answer)]
    pieces = (answer[start:end].strip() for start, end in pairwise(starts))
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]


def empty_judgment(claim: Claim) -> Judgment | None:
    """The judgment of a claim that no judge needs to read; None for one that must be judged.

    An answer without a word scores zero, as a query without results does. One without passages cannot be borne out.
    """
    if not sentences_of(claim.answer):
        return Judgment(0.0, 0.0, "the answer is empty")
    if not any(passage.strip() for passage in claim.passages):
        return Judgment(0.0, 0.0, "there is no passage that could bear the answer out")
    return None
