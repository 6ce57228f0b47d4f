"""Whether a judge can be believed: what it says of claims whose truth is known.

A judge that has not passed on labelled claims may measure, but not gate. Passing takes three things:

- enough claims: at least ``FEWEST``, and a quarter of them of either label;
- the lower bound of the 95 % interval of its balanced accuracy reaches ``MINIMUM``;
- no *blind spot*: of every kind of claim (negated, number changed, reworded, …) it gets at least half right. A judge
  with a blind spot would promote the very generation whose answers fail in that way.

Balanced accuracy is the mean of two shares: of the faithful claims that it calls faithful, and of the others that it
calls unfaithful. The interval is Wilson's (1927) for each share, put together by the square-and-add rule (MOVER:
Newcombe 1998, "Interval estimation for the difference between independent proportions"; Zou and Donner 2008).
Kappa is Cohen's (1960): agreement beyond what two coin tossers with the same habits would reach.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, Final

from regen.core.claims import Claim, Judgment
from regen.errors import EvaluationError, JudgeError
from regen.evaluation.lines import Line, counted, numbered

FEWEST: Final = 20
MINIMUM: Final = 0.7
"""At 40 claims a judge needs about 17 of 20 right of either label to show this much."""
CUT: Final = 0.9
"""A judgment of at least this share calls the claim faithful: all sentences of a short answer, 9 in 10 of a long."""
SPOT: Final = 3
"""A kind of claim with fewer labels than this is not looked at alone."""
_Z: Final = 1.959963984540054
VALID: Final = (
    'one JSON object per line with "question", "answer", "passages" (a list of texts) and "faithful" (true or false), '
    'and, if wanted, "id" and "kind"'
)


@dataclass(frozen=True, slots=True)
class LabelledClaim:
    """A claim, and whether a person found all of it borne out by its passages. ``kind`` groups claims."""

    claim: Claim
    faithful: bool
    id: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class KindScore:
    """How many claims of one kind there are, and of how many the judge was right."""

    right: int
    claims: int

    @property
    def is_blind_spot(self) -> bool:
        """Whether the judge is wrong more often than right on enough claims of the kind."""
        return self.claims >= SPOT and 2 * self.right < self.claims


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a judge is worth. ``ci_low`` and ``ci_high`` bound ``balanced_accuracy`` (95 %); shares are from 0 to 1."""

    judge: str
    n: int
    agreement: float
    kappa: float
    balanced_accuracy: float
    ci_low: float
    ci_high: float
    passed: bool
    reason: str
    kinds: Mapping[str, KindScore] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def parse_claims(lines: Iterable[str | bytes], name: str) -> tuple[LabelledClaim, ...]:
    """Labelled claims from JSON lines; ``name`` is the file's, for messages.

    Raises EvaluationError, naming the line: no JSON, a missing or wrong value, an id twice; and for no claims at all.
    """
    claims: list[LabelledClaim] = []
    places: dict[str, int] = {}
    for line in numbered(lines, name):
        claim = _parsed(line)
        if claim.id in places:
            line.refuse(f"claim id {claim.id!r} again, after line {places[claim.id]}", "each id once")
        places[claim.id] = line.number
        claims.append(claim)
    if not claims:
        raise EvaluationError(f"{name}: no labelled claims were found. Valid: {VALID}.")
    return tuple(claims)


def calibrate(
    judgments: Sequence[Judgment], labels: Sequence[LabelledClaim], *, judge: str = "", minimum: float = MINIMUM
) -> Calibration:
    """Compare a judge's judgments with the labels, in the same order. Raises EvaluationError for unequal numbers."""
    if len(judgments) != len(labels):
        raise EvaluationError(f"{counted(len(judgments), 'judgment')} for {counted(len(labels), 'labelled claim')}")
    called = [judgment.faithful >= CUT for judgment in judgments]
    right = [says == label.faithful for says, label in zip(called, labels, strict=True)]
    shares = [_share(right, labels, faithful=faithful) for faithful in (True, False)]
    balanced, low, high = _balanced(shares)
    kinds = _kinds(right, labels)
    agreement = sum(right) / len(right) if right else 0.0
    reason = _shortcoming(shares, kinds, balanced, low, minimum)
    return Calibration(
        judge, len(labels), agreement, _kappa(called, labels, agreement), balanced, low, high, not reason,
        reason or f"balanced accuracy {balanced:.2f}, at least {low:.2f} with 95 % confidence", kinds,
    )  # fmt: skip


def require_passed(calibration: Calibration | None, judge: str) -> None:
    """Raise JudgeError unless this very judge has passed: an unproven judge may measure, but not gate."""
    hint = "calibrate it on labelled claims (docs/how-to/judge-answers.md), or take its measures out of the gate"
    if calibration is None:
        raise JudgeError(f"the judge {judge!r} was never calibrated, so it may not gate", hint=hint)
    if calibration.judge != judge:
        raise JudgeError(
            f"calibrated was {calibration.judge!r}, not {judge!r}, which may therefore not gate", hint=hint
        )
    if not calibration.passed:
        raise JudgeError(f"the judge {judge!r} may not gate: {calibration.reason}", hint=hint)


# ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Share:
    right: int
    of: int

    @property
    def value(self) -> float:
        return self.right / self.of if self.of else 0.0

    def wilson(self) -> tuple[float, float]:
        """Wilson's score interval at 95 %; (0, 1) for nothing counted."""
        if not self.of:
            return 0.0, 1.0
        z2 = _Z * _Z
        centre = (self.right + z2 / 2) / (self.of + z2)
        half = _Z * sqrt(self.right * (self.of - self.right) / self.of + z2 / 4) / (self.of + z2)
        return max(0.0, centre - half), min(1.0, centre + half)


def _share(right: Sequence[bool], labels: Sequence[LabelledClaim], *, faithful: bool) -> _Share:
    own = [hit for hit, label in zip(right, labels, strict=True) if label.faithful == faithful]
    return _Share(sum(own), len(own))


def _balanced(shares: Sequence[_Share]) -> tuple[float, float, float]:
    """The mean of two shares with its interval."""
    mean = sum(share.value for share in shares) / 2
    below = sqrt(sum((share.value - share.wilson()[0]) ** 2 for share in shares)) / 2
    above = sqrt(sum((share.wilson()[1] - share.value) ** 2 for share in shares)) / 2
    return mean, max(0.0, mean - below), min(1.0, mean + above)


def _kappa(called: Sequence[bool], labels: Sequence[LabelledClaim], agreement: float) -> float:
    if not labels:
        return 0.0
    says, is_so = sum(called) / len(labels), sum(label.faithful for label in labels) / len(labels)
    chance = says * is_so + (1 - says) * (1 - is_so)
    return (agreement - chance) / (1 - chance) if chance < 1 else 0.0


def _kinds(right: Sequence[bool], labels: Sequence[LabelledClaim]) -> dict[str, KindScore]:
    claims = Counter(label.kind for label in labels if label.kind)
    hits = Counter(label.kind for hit, label in zip(right, labels, strict=True) if hit)
    return {kind: KindScore(hits[kind], count) for kind, count in claims.items()}


def _shortcoming(
    shares: Sequence[_Share], kinds: Mapping[str, KindScore], balanced: float, low: float, minimum: float
) -> str:
    """What keeps a judge from gating, empty if nothing does."""
    total = sum(share.of for share in shares)
    if total < FEWEST:
        return f"{counted(total, 'labelled claim')} are too few to tell; at least {FEWEST} are needed"
    if min(share.of for share in shares) * 4 < total:
        return (
            f"{shares[0].of} claims are faithful and {shares[1].of} are not; at least a quarter must be of either label"
        )
    said = []
    blind = [f"{kind} ({score.right} of {score.claims} right)" for kind, score in kinds.items() if score.is_blind_spot]
    if low < minimum:
        said.append(f"balanced accuracy {balanced:.2f} may be as low as {low:.2f}, below {minimum:g}")
    if blind:
        said.append(f"blind to {', '.join(blind)}")
    return "; ".join(said)


def _parsed(line: Line) -> LabelledClaim:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        line.refuse(f"no JSON ({error})", VALID)
    if not isinstance(record, dict):
        line.refuse(f"{type(record).__name__}, not an object", VALID)
    passages, faithful = record.get("passages"), record.get("faithful")
    if not isinstance(passages, list) or not all(isinstance(passage, str) for passage in passages):
        line.refuse('"passages" is no list of texts', VALID)
    if not isinstance(faithful, bool):
        line.refuse(f'"faithful" is {faithful!r}', VALID)
    claim = Claim(_text(record, "question", line), _text(record, "answer", line), tuple(passages))
    return LabelledClaim(claim, faithful, str(record.get("id", f"line {line.number}")), str(record.get("kind", "")))


def _text(record: Mapping[str, Any], key: str, line: Line) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        line.refuse(f"no {key}" if value is None else f'"{key}" is {value!r}', VALID)
    return value
