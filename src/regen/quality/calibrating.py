"""A judge's calibration, made once for a judge and its labelled claims, and kept in a small file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from regen.core.documents import canonical_json, digest
from regen.evaluation.calibration import Calibration, KindScore, LabelledClaim, calibrate
from regen.ports.judges import Judge
from regen.quality.judging import judge_claims, read_claims, shipped_claims


def calibrated(
    judge: Judge, key: str, labels: Path | None, kept: Path | None, pay: Callable[[float], None]
) -> Calibration:
    """What the judge is worth, as it was found before if the same judge was asked about the same claims.

    ``key`` tells the judge from others of its name; ``pay`` is told what was spent. Raises JudgeError, BudgetExceeded,
    EvaluationError for claims that cannot be read.
    """
    claims = shipped_claims() if labels is None else read_claims(labels)
    name = _name(judge, key, claims)
    known = _read(kept)
    if name in known:
        return _parsed(known[name])
    judgments = list(judge_claims(judge, {str(at): label.claim for at, label in enumerate(claims)}).values())
    pay(sum(judgment.cost_usd for judgment in judgments))
    found = calibrate(judgments, claims, judge=judge.name)
    if kept is not None:
        _write(kept, known | {name: found.to_dict()})
    return found


def _name(judge: Judge, key: str, claims: Sequence[LabelledClaim]) -> str:
    asked = [(*label.claim.passages, label.claim.question, label.claim.answer, label.faithful, label.kind)
             for label in claims]  # fmt: skip
    return digest(canonical_json([judge.name, key, asked])).hex()[:32]


def _read(kept: Path | None) -> dict[str, Any]:
    """What is kept; nothing where the file is not there or is damaged: calibrating again costs little and mends it."""
    try:
        found = json.loads(kept.read_bytes()) if kept is not None else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(data: dict[str, Any]) -> Calibration:
    return Calibration(**{**data, "kinds": {kind: KindScore(**score) for kind, score in data["kinds"].items()}})


def _write(kept: Path, data: dict[str, Any]) -> None:
    """Beside first, then over it: a reader sees the old file or the new one."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    beside = kept.with_name(f"{kept.name}.new")
    beside.write_text(json.dumps(data, indent=1), encoding="utf-8")
    beside.replace(kept)
