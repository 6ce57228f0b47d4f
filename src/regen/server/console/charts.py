"""Charts as SVG, drawn on the server: trends, a confidence sequence, the lives of generations.

A drawing stretches to its place, so it carries no text: numbers stand around it as HTML. Dots are strokes of no length
with round ends, which stay round however far the drawing is stretched. Colours come from the page by class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 600.0
SMALLEST: Final = 1e-300
"""What is smaller has no power of ten below it that is a number."""
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """What a drawing shows: times from ``since`` to ``until``, values from ``low`` to ``high``."""

    since: float
    until: float
    low: float
    high: float
    height: float = 100.0

    def x(self, at: float) -> float:
        """The horizontal place of a time; one outside lies at the edge."""
        share = (at - self.since) / ((self.until - self.since) or 1.0)
        return min(max(share, 0.0), 1.0) * WIDTH

    def y(self, value: float) -> float:
        """The vertical place of a value, high values up; one outside lies at the edge."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.height - min(max(share, 0.0), 1.0) * self.height


def round_up(value: float) -> float:
    """The next round number: the top of a scale."""
    if not SMALLEST < value < math.inf:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= value * 0.999)


def _path(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """The unbroken parts of a line: None is a gap."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def line(frame: Frame, points: Sequence[tuple[float, float | None]], kind: str) -> str:
    """A line with gaps where a value is None; a point alone is a dot."""
    placed = [None if value is None else (frame.x(at), frame.y(value)) for at, value in points]
    parts = []
    for run in _runs(placed):
        shape = _path(run) if len(run) > 1 else _dot(*run[0])
        parts.append(f'<path d="{shape}" class="{kind}{"" if len(run) > 1 else " alone"}"/>')
    return "".join(parts)


def area(frame: Frame, points: Sequence[tuple[float, float | None]], kind: str) -> str:
    """The area below a line."""
    placed = [None if value is None else (frame.x(at), frame.y(value)) for at, value in points]
    base = frame.y(frame.low)
    return "".join(
        f'<path d="{_path([(run[0][0], base), *run, (run[-1][0], base)])}Z" class="{kind}"/>'
        for run in _runs(placed)
        if len(run) > 1
    )


def _dot(x: float, y: float) -> str:
    return f"M{x:.1f} {y:.1f}h0"


def dots(frame: Frame, points: Iterable[Point], kind: str) -> str:
    """Round dots."""
    shape = "".join(_dot(frame.x(at), frame.y(value)) for at, value in points)
    return f'<path d="{shape}" class="dots {kind}"/>' if shape else ""


def stems(frame: Frame, points: Iterable[Point], kind: str) -> str:
    """Thin lines from the bottom up to their values."""
    shape = "".join(f"M{frame.x(at):.1f} {frame.height:g}V{frame.y(value):.1f}" for at, value in points)
    return f'<path d="{shape}" class="{kind}"/>' if shape else ""


def columns(frame: Frame, values: Sequence[Point], width: float, kind: str) -> str:
    """Columns that begin at their times and last ``width`` seconds, with a gap between them."""
    wide = max(WIDTH * width / ((frame.until - frame.since) or 1.0) * 0.72, 1.0)
    shape = "".join(
        f"M{frame.x(at):.1f} {frame.height:g}v{frame.y(value) - frame.height:.1f}h{wide:.1f}V{frame.height:g}z"
        for at, value in values
        if value > 0
    )
    return f'<path d="{shape}" class="{kind}"/>' if shape else ""


def band(frame: Frame, rows: Sequence[tuple[float, float, float]], kind: str) -> str:
    """The area between two lines: (time, low, high). It is drawn in steps, for a bound holds until the next look."""
    upper, lower = [], []
    for (at, low, high), following in zip(rows, [*rows[1:], None], strict=True):
        until = frame.until if following is None else following[0]
        upper += [(frame.x(at), frame.y(high)), (frame.x(until), frame.y(high))]
        lower += [(frame.x(at), frame.y(low)), (frame.x(until), frame.y(low))]
    edge = f'<path d="{_path(upper)}" class="{kind} edge"/><path d="{_path(lower)}" class="{kind} edge"/>'
    return f'<path d="{_path([*upper, *reversed(lower)])}Z" class="{kind}"/>{edge}' if rows else ""


def level(frame: Frame, value: float, kind: str) -> str:
    """A horizontal line; nothing where it lies outside."""
    if not frame.low <= value <= frame.high:
        return ""
    return f'<path d="M0 {frame.y(value):.1f}H{WIDTH:g}" class="{kind}"/>'


def moment(frame: Frame, at: float, kind: str) -> str:
    """A vertical line; nothing where it lies outside."""
    return (
        f'<path d="M{frame.x(at):.1f} 0V{frame.height:g}" class="{kind}"/>' if frame.since <= at <= frame.until else ""
    )


def span(frame: Frame, since: float, until: float, kind: str) -> str:
    """A bar from one time to another, as high as the drawing; never too short to be seen."""
    left, right = frame.x(since), frame.x(until)
    wide = max(right - left, 2.0)
    return (
        f'<rect x="{min(left, WIDTH - wide):.1f}" y="0" width="{wide:.1f}" height="{frame.height:g}" class="{kind}"/>'
    )


def drawing(parts: Iterable[str], label: str, kind: str, height: float = 100.0) -> Markup:
    """An image for a screen reader too: its label says what it shows."""
    body = "".join(parts)
    return Markup(  # noqa: S704 - numbers and fixed class names; the label is escaped here
        f'<svg class="chart {kind}" viewBox="0 0 {WIDTH:g} {height:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{body}</svg>'
    )


def progress(done: float, total: float, label: str) -> Markup:
    """How much of a whole is done, as a bar."""
    wide = WIDTH * min(done / total, 1.0) if total > 0 else 0.0
    return drawing([f'<rect x="0" y="0" width="{wide:.1f}" height="10" class="done"/>'], label, "progress", 10.0)
