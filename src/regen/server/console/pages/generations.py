"""Generations: all of them on one time axis, and one in full."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from regen.core.recipe import describe_difference
from regen.core.records import GenerationRecord
from regen.errors import NotFound, RegenError
from regen.index import Index
from regen.ports.rollouts import KeptEvaluation
from regen.server.console import words
from regen.server.console.lives import lives
from regen.server.console.visit import Reader

router = APIRouter()


@router.get("/generations")
def generations(visit: Reader) -> Response:
    """Every generation there was."""
    index, now = visit.index, visit.now
    records = index.generations()
    begin = min((item.created_at for item in records), default=now)
    return visit.page(
        "generations.html.j2",
        "generations",
        live="pulse",
        lives=lives(records, index.switches(), index.evaluations(limit=200), now),
        start=words.short_moment(begin, now - begin),
        live_number=index.status().live,
    )


@router.get("/generations/{number}")
def generation(visit: Reader, number: int) -> Response:
    """One generation: its recipe, how it differs from the live one, what was measured, and what can be done."""
    index = visit.index
    record, live = record_of(index, number), live_record(index)
    [life] = lives([record], index.switches(), index.evaluations(number, limit=1), visit.now)
    return visit.page(
        "generation.html.j2",
        "generations",
        live="pulse",
        record=record,
        life=life,
        differences=describe_difference(live.recipe, record.recipe) if live and live.number != number else [],
        live_number=live.number if live else None,
        facts=facts(record),
        evaluations=index.evaluations(number, limit=10),
        standing=standing(index, record),
        rollout=index.rollout(),
    )


def record_of(index: Index, number: int) -> GenerationRecord:
    """One generation. Raises NotFound."""
    records = {item.number: item for item in index.generations()}
    if number not in records:
        raise NotFound(f"there is no generation {number}", hint=f"there are: {sorted(records) or 'none'}")
    return records[number]


def live_record(index: Index) -> GenerationRecord | None:
    """The generation that answers."""
    return next((item for item in index.generations() if item.state == "live"), None)


def standing(index: Index, record: GenerationRecord) -> KeptEvaluation | RegenError | None:
    """What a promotion would rest on: an evaluation, nothing yet, or why that cannot be told."""
    if record.state not in {"ready", "retained"}:
        return None
    try:
        return index.standing_evaluation(record.number)
    except RegenError as error:
        return error


def facts(record: GenerationRecord) -> list[tuple[str, Any]]:
    """Label and value of what a generation is."""
    recipe, part = record.recipe, record.recipe.embedding
    cut = recipe.chunking
    overlap = f", {cut.overlap} overlapping" if cut.overlap else ""
    found: list[tuple[str, Any]] = [
        ("Model", f"{part.model}{f' @ {part.revision}' if part.revision else ''}"),
        ("Vectors", f"{part.dimensions} dimensions, {part.precision}{', normalised' if part.normalize else ''}"),
        ("Metric", recipe.metric),
        ("Chunking", f"{cut.kind}, at most {cut.max_tokens} tokens{overlap}"),
        ("Text", words.on_one_line(recipe.text.template)),
        ("Space", recipe.space),
        ("Recipe", recipe.fingerprint),
        ("Created", words.clock(record.created_at)),
    ]
    if record.completed_at is not None:
        filled = words.duration(record.completed_at - record.created_at)
        found.append(("Complete", f"{words.clock(record.completed_at)}, after {filled}"))
    if part.document_prefix or part.query_prefix:
        found.append(("Prefixes", f"document {part.document_prefix!r}, query {part.query_prefix!r}"))
    if record.store:
        found.append(("Store", record.store))
    return found
