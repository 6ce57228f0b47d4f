"""Quality over time: the live generation is evaluated on a schedule, and what falls below its floor raises an alarm.

The documents involved are flagged, so that a backfill takes them first, and may be reprocessed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np

from regen.core.results import ChangeRecord, Progress, StatusReport, SyncResult
from regen.errors import NotFound
from regen.evaluation.conditions import Condition, MeasureCondition
from regen.evaluation.outcome import ALL, CheckResult, Evaluation, QueryOutcome

OnProgress: TypeAlias = Callable[[Progress], None]
DOCUMENTS: Final = 1_000
"""How many documents one alarm names at most: those of the worst queries first."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that must be looked at. ``subject`` is a measure with its collection, or the name of a check.

    ``documents`` are those that are involved, worst first: for a measure the relevant documents of the queries that
    are below the floor themselves, for a check those that it names.
    """

    kind: Literal["floor", "check"]
    subject: str
    detail: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """One round: the alarms, how many documents were flagged, and what reprocessing them did, if it was asked for."""

    generation: int
    alarms: tuple[Alarm, ...]
    flagged: int = 0
    reprocessed: SyncResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Monitored(Protocol):
    """What watching needs of an index."""

    def status(self) -> StatusReport:
        """Which generation is live."""
        ...

    def evaluate(
        self,
        generation: int | None = None,
        *,
        against: int | Literal["live"] | None = "live",
        progress: OnProgress | None = None,
    ) -> Evaluation:
        """Measure a generation."""
        ...

    def flag(self, ids: Iterable[str], *, flagged: bool = True) -> int:
        """Mark documents as badly found."""
        ...

    def history(self, doc_id: str | None = None, limit: int = 50) -> list[ChangeRecord]:
        """The newest changes of a document."""
        ...

    def reprocess(self, ids: Iterable[str], progress: OnProgress | None = None) -> SyncResult:
        """Embed documents anew."""
        ...


def floors_of(gate: Iterable[Condition]) -> tuple[MeasureCondition, ...]:
    """The conditions of a gate that are floors (``min``): what a generation must reach by itself, now and later."""
    return tuple(item for item in gate if isinstance(item, MeasureCondition) and item.kind == "min")


def alarms(evaluation: Evaluation, floors: Sequence[MeasureCondition]) -> tuple[Alarm, ...]:
    """What is wrong with the evaluated generation: means below a floor, lost known queries, other failed checks.

    A mean is compared as it is, without its interval: an alarm asks for somebody's eyes, it decides no promotion.
    """
    fallen = [alarm for floor in floors for alarm in _below(evaluation.queries, floor)]
    return (*fallen, *(_of_check(check) for check in evaluation.checks if _alarms(check)))


def _below(queries: Sequence[QueryOutcome], floor: MeasureCondition) -> Iterator[Alarm]:
    """One alarm for each collection whose mean is below the floor; collections are judged apart."""
    chosen: dict[str, list[QueryOutcome]] = {}
    for query in queries:
        in_slice = floor.slice == ALL or floor.slice in query.tags
        if in_slice and floor.collection in {None, query.collection} and floor.measure in query.candidate:
            chosen.setdefault(query.collection, []).append(query)
    for collection, members in chosen.items():
        mean = float(np.mean([query.candidate[floor.measure] for query in members]))
        if mean < floor.value:
            worst = sorted(members, key=lambda query: (query.candidate[floor.measure], query.query_id))
            lost = [query for query in worst if query.candidate[floor.measure] < floor.value]
            where = collection if floor.slice == ALL else f"{collection}, {floor.slice}"
            detail = f"{mean:.4f} is below {floor.value:g}; {len(lost):,} of {len(members):,} queries are"
            yield Alarm("floor", f"{floor.measure} ({where})", detail, _relevant(lost))


def _relevant(queries: Sequence[QueryOutcome]) -> tuple[str, ...]:
    """The relevant documents of queries, the best graded of each query first."""
    named = dict.fromkeys(
        doc
        for query in queries
        for doc, grade in sorted(query.grades.items(), key=lambda item: (-item[1], item[0]))
        if grade > 0
    )
    return tuple(named)[:DOCUMENTS]


def _alarms(check: CheckResult) -> bool:
    """Latency and other limits belong to a promotion; a failed check is a fault whenever it is found."""
    return not check.passed and check.gates


def _of_check(check: CheckResult) -> Alarm:
    hint = f" Hint: {check.hint}" if check.hint else ""
    return Alarm("check", check.name, check.detail + hint, check.documents[:DOCUMENTS])


def watch(
    index: Monitored,
    floors: Sequence[MeasureCondition],
    *,
    reprocess: bool = False,
    progress: OnProgress | None = None,
) -> Watched:
    """One round: evaluate the live generation, flag the documents that alarms involve, and reprocess them if asked.

    Documents that are not in the index (any more) are neither. Raises NotFound before the first generation is live.
    """
    live = index.status().live
    if live is None:
        raise NotFound("no generation is live yet", hint="run `regen sync` first")
    found = alarms(index.evaluate(live, against=None, progress=progress), floors)
    involved = list(dict.fromkeys(doc for alarm in found for doc in alarm.documents))
    flagged = index.flag(involved) if involved else 0
    there = [doc_id for doc_id in involved if _exists(index, doc_id)] if reprocess else []
    return Watched(live, found, flagged, index.reprocess(there, progress) if there else None)


def _exists(index: Monitored, doc_id: str) -> bool:
    """Whether the index has a document: judgments and checks may name others."""
    newest = index.history(doc_id, 1)
    return bool(newest) and newest[0].kind != "deleted"
