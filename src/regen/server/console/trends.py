"""What the overview draws over time: freshness, quality, spending. Each is a drawing with the numbers around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup

from regen.evaluation.wording import dollars
from regen.ports.insight import Searchable, Spent
from regen.ports.rollouts import KeptEvaluation
from regen.server.console import charts, words
from regen.server.console.charts import Frame

BUCKETS: Final = 48
NOTHING_DRAWN: Final = Markup()


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is looked back on, in seconds since the epoch."""

    name: str
    since: float
    until: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.until - self.since

    @property
    def told(self) -> str:
        """``7 days``."""
        return WINDOWS[self.name][1]


WINDOWS: Final[Mapping[str, tuple[float, str]]] = {
    "hour": (words.HOUR, "1 hour"),
    "day": (words.DAY, "24 hours"),
    "week": (7 * words.DAY, "7 days"),
    "month": (30 * words.DAY, "30 days"),
}


def window(name: str, now: float) -> Window:
    """A window that ends now; a week where the name is not known."""
    known = name if name in WINDOWS else "week"
    return Window(known, now - WINDOWS[known][0], now)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawing, and what stands around it; ``empty`` says why there is none, and what to do."""

    title: str
    svg: Markup = NOTHING_DRAWN
    top: str = ""
    bottom: str = ""
    start: str = ""
    end: str = "now"
    note: str = ""
    empty: str = ""


def freshness(
    changes: Sequence[Searchable], over: Window, live: int | None = None, loaded_at: float | None = None
) -> Drawn:
    """How long changes took to become searchable: the 95th percentile of each part of the window, on a log scale.

    What a generation was filled with is no change: ``loaded_at`` is when the one that is ``live`` was complete.
    """
    title = "from source to searchable, p95"
    if not changes and live is not None and loaded_at is not None and loaded_at >= over.since:
        filled = f"Generation {live} was complete {words.ago(loaded_at, over.until)}"
        return Drawn(title, empty=f"{filled}; no change was made since.")
    if not changes:
        return Drawn(title, empty=f"No change was made in the last {over.told}.")
    step = over.seconds / BUCKETS
    buckets: list[list[float]] = [[] for _ in range(BUCKETS)]
    for item in changes:
        buckets[min(max(int((item.at - over.since) / step), 0), BUCKETS - 1)].append(max(item.seconds, 1e-3))
    upper = [
        (over.since + (at + 0.5) * step, float(np.percentile(found, 95))) for at, found in enumerate(buckets) if found
    ]
    worst = max(value for _, value in upper)
    low, high = 0.01, charts.round_up(max(worst, 0.1))
    frame = Frame(over.since, over.until, math.log10(low), math.log10(high), 64.0)
    placed = [(at, math.log10(max(value, low))) for at, value in upper]
    parts = [*_grid(frame), charts.stems(frame, placed, "stem"), charts.dots(frame, placed, "series")]
    label = f"{title}: at worst {words.duration(worst)} in the last {over.told}"
    return Drawn(title, charts.drawing(parts, label, "trend", 64.0), words.duration(high), words.duration(low),
                 words.short_moment(over.since, over.seconds), note=words.plural(len(changes), "change"))  # fmt: skip


def quality(kept: Sequence[KeptEvaluation], measure: str | None, over: Window) -> Drawn:
    """The leading measure of what was evaluated, one line per generation."""
    if measure is None:
        return Drawn("quality over time", empty="An evaluation draws the first point: `regen evaluate`.")
    points: dict[int, list[charts.Point]] = {}
    for item in sorted(kept, key=lambda one: one.evaluated_at):
        value = item.result.get("candidate", {}).get("measures", {}).get(measure)
        if value is not None and item.evaluated_at >= over.since:
            points.setdefault(item.generation, []).append((item.evaluated_at, value))
    if not points:
        return Drawn(f"{measure} over time", empty=f"Nothing was evaluated in the last {over.told}.")
    values = [value for line in points.values() for _, value in line]
    low, high = _around(min(values), max(values))
    frame = Frame(over.since, over.until, low, high, 64.0)
    parts = _grid(frame)
    for at, line in enumerate(points.values()):
        kind = f"series s{at % 4}"
        parts += [charts.line(frame, line, kind), charts.dots(frame, line, kind)]
    told = ", ".join(f"generation {number} {line[-1][1]:.3f}" for number, line in points.items())
    return Drawn(f"{measure} over time", charts.drawing(parts, f"{measure} over time: {told}", "trend", 64.0),
                 f"{high:.2f}", f"{low:.2f}", words.short_moment(over.since, over.seconds),
                 note=f"generation {' and '.join(map(str, points))}")  # fmt: skip


def spending(spent: Sequence[Spent], over: Window) -> Drawn:
    """Money by parts of the window; where nothing costs money, texts embedded."""
    paid = any(item.usd for item in spent)
    title = "spent" if paid else "texts embedded"
    if not any(item.texts for item in spent):
        return Drawn(title, empty=f"Nothing was embedded in the last {over.told}.")
    step = over.seconds / BUCKETS
    sums = [0.0] * BUCKETS
    for item in spent:
        sums[min(max(int((item.at - over.since) / step), 0), BUCKETS - 1)] += item.usd if paid else item.texts
    say: Callable[[float], str] = dollars if paid else lambda value: f"{value:,.0f}"
    high = charts.round_up(max(sums))
    frame = Frame(over.since, over.until, 0.0, high, 64.0)
    columns = [(over.since + at * step, value) for at, value in enumerate(sums)]
    parts = [*_grid(frame), charts.columns(frame, columns, step, "bars")]
    label = f"{title} in the last {over.told}: {say(sum(sums))}"
    return Drawn(title, charts.drawing(parts, label, "trend", 64.0), say(high), "0",
                 words.short_moment(over.since, over.seconds), note=f"{say(sum(sums))} in {over.told}")  # fmt: skip


def _grid(frame: Frame) -> list[str]:
    middle = (frame.low + frame.high) / 2
    return [
        charts.level(frame, frame.low, "base"),
        charts.level(frame, middle, "grid"),
        charts.level(frame, frame.high, "grid"),
    ]


def _around(low: float, high: float) -> tuple[float, float]:
    """A scale that shows the differences of measures between 0 and 1."""
    room = max((high - low) * 0.5, 0.02)
    return max(0.0, math.floor((low - room) * 50) / 50), min(1.0, math.ceil((high + room) * 50) / 50)
