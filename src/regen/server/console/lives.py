"""The lives of generations on one time axis: being filled, waiting, live, retained, gone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from regen.core.records import GenerationRecord
from regen.evaluation.wording import score
from regen.ports.catalog import Switch
from regen.ports.rollouts import KeptEvaluation
from regen.server.console import charts, words
from regen.server.console.answers import leading
from regen.server.console.charts import Frame

HEIGHT: Final = 18.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a generation's life."""

    kind: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Life:
    """One generation with its drawing, and what its newest evaluation said."""

    record: GenerationRecord
    phases: Sequence[Phase]
    drawing: Markup
    quality: str
    measure: str
    verdict: str


def lives(
    records: Sequence[GenerationRecord], switches: Sequence[Switch], kept: Sequence[KeptEvaluation], now: float
) -> list[Life]:
    """All generations, newest first, drawn on one scale."""
    since = min((item.created_at for item in records), default=now)
    frame = Frame(since, max(now, since + 1.0), 0.0, 1.0, HEIGHT)
    newest: dict[int, KeptEvaluation] = {}
    for item in kept:
        newest.setdefault(item.generation, item)
    return [_life(item, switches, newest.get(item.number), frame, now) for item in reversed(records)]


def _life(
    record: GenerationRecord, switches: Sequence[Switch], kept: KeptEvaluation | None, frame: Frame, now: float
) -> Life:
    found = phases(record, switches, now)
    spans = [charts.span(frame, item.since, item.until, item.kind) for item in found]
    told = ", ".join(f"{item.kind} for {words.duration(item.until - item.since)}" for item in found)
    drawing = charts.drawing(spans, f"Generation {record.number}: {told}", "life", HEIGHT)
    measure = leading(kept.result) if kept else None
    quality = score(kept.result["candidate"]["measures"][measure]) if kept and measure else "–"
    return Life(record, found, drawing, quality, measure or "", kept.verdict if kept else "")


def phases(record: GenerationRecord, switches: Sequence[Switch], now: float) -> list[Phase]:
    """What a generation was, from when to when, as its own times and the alias's history tell."""
    ordered = sorted(switches, key=lambda item: item.version)
    turns: list[tuple[float, str]] = [(record.created_at, "building")]
    if record.completed_at is not None:
        turns.append((record.completed_at, "ready"))
    for switch in ordered:
        if switch.live == record.number:
            turns.append((switch.switched_at, "live"))
        elif switch.previous == record.number:
            turns.append((switch.switched_at, "retained"))
    if record.state in {"retired", "aborted"}:
        turns.append((_end(record, turns), "gone"))
    turns.sort(key=lambda item: item[0])
    ends = [*(at for at, _ in turns[1:]), now]
    return [
        Phase(kind, at, max(until, at))
        for (at, kind), until in zip(turns, ends, strict=True)
        if kind != "gone" and (until > at or kind == "live")
    ]


def _end(record: GenerationRecord, turns: Sequence[tuple[float, str]]) -> float:
    """When a generation that is gone went: the catalog keeps no time of it, so the last that is known."""
    return max(at for at, _ in turns) + (1.0 if record.completed_at is None else 0.0)
