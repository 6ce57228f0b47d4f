"""Judges at work: calibrated on labelled claims, and asked about the answers of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from regen.core.claims import Claim, Judgment
from regen.errors import EvaluationError, JudgeError, RegenError
from regen.evaluation.answers import Answer, parse_answers
from regen.evaluation.calibration import Calibration, LabelledClaim, calibrate, parse_claims
from regen.ports.judges import Judge


def shipped_claims() -> tuple[LabelledClaim, ...]:
    """The labelled claims that come with regen: half of them faithful, the others wrong in ways that answers are."""
    file = files("regen.evaluation") / "claims.jsonl"
    return parse_claims(file.read_text(encoding="utf-8").splitlines(), file.name)


def read_claims(path: str | Path) -> tuple[LabelledClaim, ...]:
    """Labelled claims of your own, from a file of JSON lines. Raises EvaluationError."""
    return parse_claims(_lines(Path(path), "labelled claims"), str(path))


def read_answers(path: str | Path) -> dict[str, Answer]:
    """Answers by query id, from a file of JSON lines. Raises EvaluationError."""
    return parse_answers(_lines(Path(path), "answers"), str(path))


def calibrate_judge(judge: Judge, labels: Sequence[LabelledClaim] | None = None) -> Calibration:
    """What the judge is worth on labelled claims, regen's own by default. Raises JudgeError, BudgetExceeded."""
    labels = shipped_claims() if labels is None else labels
    return calibrate(_judged(judge, [label.claim for label in labels]), labels, judge=judge.name)


def judge_claims(judge: Judge, claims: Mapping[str, Claim]) -> dict[str, Judgment]:
    """A judgment of each claim, by its key, in order. Raises JudgeError, BudgetExceeded."""
    return dict(zip(claims, _judged(judge, list(claims.values())), strict=True))


def _judged(judge: Judge, claims: Sequence[Claim]) -> list[Judgment]:
    """Hold a judge to its contract: one judgment a claim, of shares from 0 to 1."""
    try:
        judgments = list(judge.judge(claims))
    except RegenError:
        raise
    except Exception as error:  # a judge of the user's own may raise anything, a time-out of its library's too
        raise JudgeError(f"the judge {judge.name!r} failed: {type(error).__name__}: {error}") from error
    if len(judgments) != len(claims):
        raise JudgeError(f"the judge {judge.name!r} gave {len(judgments)} judgments of {len(claims)} claims")
    for judgment in judgments:
        for share in (getattr(judgment, "faithful", None), getattr(judgment, "uses_sources", None)):
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise JudgeError(f"the judge {judge.name!r} gave {share!r}", hint="shares from 0 to 1 are valid")
    return judgments


def _lines(path: Path, what: str) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise EvaluationError(f"{what} cannot be read: {path}: {error.strerror or error}") from None
