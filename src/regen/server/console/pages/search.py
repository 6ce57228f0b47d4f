"""The search playground: as whom, under which conditions, in which generation, and why it answered so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Annotated, Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.core.results import Explanation, SearchResult
from regen.errors import RegenError
from regen.server.console.asking import Place, Question, WrongField, agreement, placed
from regen.server.console.visit import Visit, visiting

router = APIRouter()
STAGES: Final = (("embed", "embed_ms"), ("store", "store_ms"), ("fence", "fence_ms"))
DROPPED: Final = {
    "superseded": "of a revision that is no longer current",
    "deleted": "of a document that is deleted",
    "access": "that this principal may not see",
    "filter": "that do not meet the conditions",
}
"""What the fence drops, said after ``3 chunks``."""


@dataclass(frozen=True, slots=True)
class Side:
    """One generation's answer, ready to be shown."""

    result: SearchResult
    places: list[Place]
    total_ms: float

    @property
    def stages(self) -> list[tuple[str, float, float]]:
        """Name, milliseconds and share of each stage."""
        told = self.result.explanation
        times = [(name, float(getattr(told, key))) for name, key in STAGES]
        if told.rerank is not None and told.rerank.skipped is None:
            times.append(("rerank", told.rerank.milliseconds))
        whole = sum(time for _, time in times) or 1.0
        return [(name, time, time / whole) for name, time in times]

    @property
    def decisions(self) -> list[str]:
        """What the fence let through, and what it dropped, each as a sentence."""
        return list(_decisions(self.result.explanation, len(self.result.hits)))


def _decisions(told: Explanation, hits: int) -> list[str]:
    rounds = "once" if told.rounds == 1 else f"{told.rounds} times"
    said = [f"the store was asked {rounds} and offered {told.candidates:,} candidates"]
    said += [f"dropped {count:,} {DROPPED.get(name, name)}" for name, count in told.dropped.items() if count]
    if not any(told.dropped.values()):
        said.append("all of them passed")
    return [*said, f"{hits:,} returned"]


@router.get("/search")
def search(visit: Annotated[Visit, visiting("search")]) -> Response:
    """Ask the index as somebody."""
    question = Question.read(dict(visit.request.query_params))
    values: dict[str, Any] = {"sides": [], "overlap": None, "error": None}
    status = 200
    if question.asked:
        try:
            values |= ask(visit, question)
        except WrongField as error:
            question, status = replace(question, problems={error.field: error}), 422
        except RegenError as error:
            values["error"], status = error, 422
    generations = visit.index.status().generations
    may = visit.caller is not None and visit.caller.may("act_as")
    return visit.page(
        "search.html.j2", "search", status=status, question=question, generations=generations, may_act_as=may, **values
    )


def ask(visit: Visit, question: Question) -> dict[str, Any]:
    """Both sides of a question; one where nothing is compared. Raises RegenError."""
    assert visit.caller is not None
    index, arguments = visit.index, question.arguments(visit.caller)
    first, second = (question.number_of(name, index) for name in ("generation", "against"))
    one, one_ms = _timed(visit, question.text, {**arguments, "generation": first})
    if second is None:
        return {"sides": [Side(one, placed(one, None), one_ms)], "overlap": None}
    other, other_ms = _timed(visit, question.text, {**arguments, "generation": second})
    sides = [Side(one, placed(one, None), one_ms), Side(other, placed(other, one), other_ms)]
    return {"sides": sides, "overlap": agreement(one, other)}


def _timed(visit: Visit, text: str, arguments: dict[str, Any]) -> tuple[SearchResult, float]:
    began = perf_counter()
    found = visit.index.search(text, **arguments)
    return found, (perf_counter() - began) * 1e3
