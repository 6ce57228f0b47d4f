"""Verdicts, numbers and untrusted text as people read them, the same on every page and terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from regen.evaluation.outcome import Comparison, Evaluation, Verdict

MINUS: Final = "\u2212"
NOTHING: Final = "–"
_LONGEST: Final = 160
_UNSHOWABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class VerdictWords:
    """How one verdict is said: of an evaluation, in one sentence, and of a single condition."""

    title: str
    sentence: str
    condition: str
    mark: str


VERDICTS: Final[Mapping[Verdict, VerdictWords]] = {
    "promote": VerdictWords("Promote", "Every condition of the gate is met.", "met", "✓"),
    "hold": VerdictWords("Hold", "At least one condition of the gate is not met.", "not met", "✗"),
    "cannot_tell": VerdictWords(
        "Cannot tell", "What was measured is too little to tell whether the gate is met.", "cannot tell", "?"
    ),
}


def score(value: float) -> str:
    """``0.4660``: a measure, as trec_eval prints it."""
    return _number(value, "")


def signed(value: float) -> str:
    """``+0.0450``: a difference. What rounds to zero has no sign."""
    return _number(value, "+")


def interval(low: float, high: float) -> str:
    """``−0.0012 to +0.0690``."""
    return f"{signed(low)} to {signed(high)}" if math.isfinite(low) and math.isfinite(high) else NOTHING


def probability(value: float) -> str:
    """``0.032``; below a thousandth only that it is."""
    if math.isnan(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(number: float) -> str:
    """``5,001``."""
    return f"{round(number):,}"


def counted(number: int, one: str, many: str) -> str:
    """``1 query``, ``300 queries``."""
    return f"{count(number)} {one if number == 1 else many}"


def dollars(amount: float) -> str:
    """``$12.30``; small sums with enough digits to be seen."""
    if 0 < amount < 0.0001:
        return "< $0.0001"
    return f"${amount:,.4f}" if 0 < amount < 1 else f"${amount:,.2f}"


def milliseconds(value: float) -> str:
    """``0.84 ms``, ``12.4 ms``, ``1,204 ms``."""
    if math.isnan(value):
        return NOTHING
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def percent(share: float) -> str:
    """``0.25 %`` of a share from 0 to 1."""
    return NOTHING if math.isnan(share) else f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"


def moment(seconds: float) -> str:
    """Seconds since the epoch as ``2026-03-01 12:00 UTC``; a time that is not known, 0, as a dash."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else NOTHING


def elapsed(seconds: float) -> str:
    """``0.8 s``, ``2 min 5 s``."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def visible(text: str, longest: int = _LONGEST) -> str:
    """Untrusted text on one line: white space flattened, what would steer a terminal or a page replaced.

    Text longer than ``longest`` characters is cut in the middle: ids often differ at their end only.
    """
    flat = " ".join(text.split())
    if len(flat) > longest:
        kept = longest // 3
        flat = f"{flat[: longest - kept - 3]} … {flat[-kept:]}"
    return printable(flat)


def printable(text: str) -> str:
    """Text without control characters, changes of direction and halves of characters, which UTF-8 cannot hold."""
    return _UNSHOWABLE.sub("\ufffd", text)


def next_step(evaluation: Evaluation) -> str:
    """What to do now, as a command where there is one."""
    number = evaluation.candidate.generation
    named = "" if number is None else f" {number}"
    if evaluation.verdict == "promote":
        return f"regen promote{named}"
    if evaluation.verdict == "hold":
        return f"mend what failed, then regen evaluate{named}"
    gated = [item for item in evaluation.comparisons if item.condition is not None and item.verdict == "cannot_tell"]
    most = max(gated, key=lambda item: item.needed or 0, default=None)
    if most is None or not most.needed:
        return f"settle what the reasons name, then regen evaluate{named}"
    more = counted(most.needed, "more query", "more queries")
    return f"judge about {more} for {visible(most.collection, 40)}, then regen evaluate{named}"


def settled_by(comparison: Comparison) -> str:
    """``about 120 more judged queries``, empty where more queries are not what is missing."""
    needed = comparison.needed
    return f"about {counted(needed, 'more judged query', 'more judged queries')}" if needed else ""


def _number(value: float, sign: str) -> str:
    if not math.isfinite(value):
        return NOTHING
    text = f"{value:{sign}.4f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)
