"""Answers of a RAG system as measures: read for each generation, and judged by a judge that is calibrated first.

Whatever keeps answers from being judged is told by the check ``answers``: no file, a judge that cannot be reached,
talks nonsense, has not passed its calibration, or has used up its budget. The gate's conditions on answers then cannot
be told; they are never passed over.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from regen.core.claims import Claim, Judgment
from regen.core.documents import canonical_json, digest
from regen.core.results import Progress
from regen.errors import BudgetExceeded, EvaluationError, JudgeError, RegenError
from regen.evaluation.answers import (
    ANSWER_MEASURES,
    Answer,
    AnswerClaims,
    answer_measures,
    make_claims,
    parse_answers,
    shared_queries,
)
from regen.evaluation.calibration import Calibration, require_passed
from regen.evaluation.conditions import Condition, MeasureCondition
from regen.evaluation.judged import JudgedCollection
from regen.evaluation.lines import counted
from regen.evaluation.outcome import CheckResult
from regen.evaluation.wording import dollars
from regen.ports.catalog import Catalog, Cost
from regen.ports.judges import Judge
from regen.quality.calibrating import calibrated
from regen.quality.judging import judge_claims
from regen.quality.running import Run

OnProgress: TypeAlias = Callable[[Progress], None]
Values: TypeAlias = dict[str, dict[str, dict[str, float]]]
"""Collection → query id → measure → value."""
NAME: Final = "answers"
PLACE: Final = "{generation}"
"""Stands in an answer file's path for a generation's number, where each generation's answers lie apart."""
AT_ONCE: Final = 32
"""So many answers are judged between two reports of progress."""
_HINT: Final = "see docs/how-to/judge-answers.md; {check: answers, advisory: true} in the gate does without the judge"


@dataclass(frozen=True, slots=True)
class Judging:
    """Who judges answers, and by which labelled claims it is calibrated.

    ``make`` makes the judge when it is needed, ``key`` tells it from others (its name and options). ``labels`` is a
    file of labelled claims, None for regen's own; ``kept`` a file in which calibrations are kept, None for none.
    """

    make: Callable[[], Judge]
    key: str = ""
    labels: Path | None = None
    kept: Path | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One generation's number and what it returned, by collection."""

    number: int
    runs: Mapping[str, Run]


@dataclass(slots=True)
class JudgedAnswers:
    """What was judged: for each side, in their order, the values; and what a reader must know.

    ``check`` is None where there are no answers to judge. ``told`` is the evaluation's JSON about it.
    """

    values: list[Values]
    check: CheckResult | None = None
    may_gate: bool = True
    problems: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Work:
    """The claims of both sides, by (side, collection, query), and what they have cost."""

    claims: dict[tuple[int, str, str], Claim] = field(default_factory=dict)
    judgments: dict[tuple[int, str, str], Judgment] = field(default_factory=dict)
    cost_usd: float = 0.0


def answers_digest(files: Mapping[str, str], numbers: Sequence[int]) -> str:
    """What the answers of these generations are, for an evaluation's fingerprint; that a file is not there counts."""
    held = []
    for name, path in sorted(files.items()):
        for number in numbers:
            file = Path(path.replace(PLACE, str(number)))
            held.append((name, number, digest(file.read_bytes()).hex() if file.is_file() else ""))
    return digest(canonical_json(held)).hex()[:16]


def is_about_answers(condition: Condition) -> bool:
    """Whether a condition is about what a judge says."""
    return isinstance(condition, MeasureCondition) and condition.measure in ANSWER_MEASURES


def judge_answers(
    judging: Judging | None,
    files: Mapping[str, str],
    collections: Sequence[JudgedCollection],
    sides: Sequence[Side],
    *,
    catalog: Catalog,
    gates: bool,
    progress: OnProgress | None = None,
) -> JudgedAnswers:
    """Judge the answers to all collections on all sides, and say what came of it. Never raises for a judge's failure.

    ``files`` are paths by collection. ``gates``: conditions of the gate are about answers. Raises EvaluationError for
    answers and claims that cannot be read as they are.
    """
    found = JudgedAnswers([{} for _ in sides])
    if not files:
        return found
    if judging is None:
        raise EvaluationError("there are answers, and no judge", hint="name one under evaluation.judge")
    work, calibration, judge = _Work(), None, None
    try:
        problems, work.claims = _claims(files, collections, sides)
        found.problems += problems
        judge = judging.make()
        calibration = calibrated(judge, judging.key, judging.labels, judging.kept, _paying(work))
        _judge_all(judge, work, progress)
        found.values = _values(work, sides, found.problems)
        require_passed(calibration, judge.name)
    except (JudgeError, BudgetExceeded) as error:
        found.check, found.may_gate = _failed(error, work, gates=gates), False
    else:
        detail = f"{_told(work, judge.name)}; calibrated: {calibration.reason}"
        found.check = CheckResult(NAME, passed=True, detail=detail, gates=gates)
    finally:
        _settle(judge, work, catalog)
    found.told = _summary(judge, calibration, work)
    return found


def _claims(
    files: Mapping[str, str], collections: Sequence[JudgedCollection], sides: Sequence[Side]
) -> tuple[list[str], dict[tuple[int, str, str], Claim]]:
    """The claims of all sides. Raises JudgeError where a generation has no answers, EvaluationError."""
    problems, claims = list[str](), dict[tuple[int, str, str], Claim]()
    for item in collections:
        if item.name not in files:
            continue
        questions = {query.id: query.text for query in item.judged}
        for at, side in enumerate(sides):
            made = _made(files[item.name], side, questions, side.runs[item.name])
            problems += [f"{item.name}, generation {side.number}: {problem}" for problem in made.problems]
            claims.update({(at, item.name, query): claim for query, claim in made.claims.items()})
    return problems, claims


def _made(path: str, side: Side, questions: Mapping[str, str], run: Run) -> AnswerClaims:
    """Answers that every generation shares are judged by what it returns; its own, by the passages they came with."""
    if PLACE not in path:
        return make_claims(_read(Path(path)), questions, run.passages)
    file = Path(path.replace(PLACE, str(side.number)))
    if not file.is_file():
        raise JudgeError(
            f"there are no answers of generation {side.number}: {file}",
            hint="let your system answer the queries with this generation's results, and write the answers there",
        )
    own = {
        query: answer
        if answer.passages is not None
        else dataclasses.replace(answer, passages=tuple(run.passages.get(query, ())))
        for query, answer in _read(file).items()
    }
    return make_claims(own, questions)


def _read(path: Path) -> dict[str, Answer]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise EvaluationError(
            f"the answers cannot be read: {path}: {error.strerror or error}",
            hint="`answers` of a collection names a file by a path that starts at regen.yaml's folder",
        ) from None
    return parse_answers(lines, str(path))


def _judge_all(judge: Judge, work: _Work, progress: OnProgress | None) -> None:
    """Equal claims of both sides are judged once. Raises JudgeError, BudgetExceeded; what was judged is in ``work``."""
    keys: dict[Claim, list[tuple[int, str, str]]] = {}
    for key, claim in work.claims.items():
        keys.setdefault(claim, []).append(key)
    distinct = list(keys)
    for start in range(0, len(distinct), AT_ONCE):
        batch = distinct[start : start + AT_ONCE]
        judged = judge_claims(judge, {str(at): claim for at, claim in enumerate(batch)})
        for claim, judgment in zip(batch, judged.values(), strict=True):
            work.judgments.update(dict.fromkeys(keys[claim], judgment))
            work.cost_usd += judgment.cost_usd
        if progress is not None:
            done = min(start + AT_ONCE, len(distinct))
            progress(Progress("judge", done, len(distinct), "answers", cost_usd=work.cost_usd))


def _values(work: _Work, sides: Sequence[Side], problems: list[str]) -> list[Values]:
    """The measures of every query that all sides have a judgment of; what is left out becomes a problem."""
    values: list[Values] = [{} for _ in sides]
    for name in dict.fromkeys(name for _, name, _ in work.judgments):
        own = [
            {query: item for (at, of, query), item in work.judgments.items() if (at, of) == (which, name)}
            for which in range(len(sides))
        ]
        common, left = shared_queries(own)
        problems += [f"{name}: {text}" for text in left]
        for which, judged in enumerate(own):
            measured = answer_measures({query: judged[query] for query in common})
            values[which][name] = {
                query: {measure: measured[measure][query] for measure in ANSWER_MEASURES} for query in common
            }
    return values


def _paying(work: _Work) -> Callable[[float], None]:
    def pay(amount: float) -> None:
        work.cost_usd += amount

    return pay


def _settle(judge: Judge | None, work: _Work, catalog: Catalog) -> None:
    """Put what was paid on the account, whatever happened then, and let the judge go."""
    if work.cost_usd and judge is not None:
        # Generation 0: the money was spent on judging, not on filling any generation.
        catalog.pay(None, Cost(0, judge.name, 0, 0, work.cost_usd), at=time.time())
    close = getattr(judge, "close", None)
    if callable(close):
        close()


def _told(work: _Work, judge: str) -> str:
    cost = f" for {dollars(work.cost_usd)}" if work.cost_usd else ""
    return f"{counted(len(work.judgments), 'answer')} judged by {judge}{cost}"


def _failed(error: RegenError, work: _Work, *, gates: bool) -> CheckResult:
    lost = len(work.claims) - len(work.judgments)
    left = f"; {lost:,} of {counted(len(work.claims), 'answer')} not judged" if lost else ""
    return CheckResult(NAME, passed=False, detail=f"{error.message}{left}", gates=gates, hint=error.hint or _HINT)


def _summary(judge: Judge | None, calibration: Calibration | None, work: _Work) -> dict[str, Any]:
    return {
        "judge": None if judge is None else judge.name,
        "calibration": None if calibration is None else calibration.to_dict(),
        "judged": len(work.judgments),
        "cost_usd": work.cost_usd,
    }
