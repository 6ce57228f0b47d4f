"""Plots as SVG text: differences with their intervals, and what each query won or lost.

Pure and without a library. Colours come from the page by class (``good``, ``bad``, ``unsure``, ``plain``), so that one
drawing serves light, dark and paper; shapes repeat what colours say. Every text in a drawing is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
STRIP_WIDTH: Final = 260
STRIP_HEIGHT: Final = 30
MOST_BARS: Final = 600
_MARGIN: Final = 20.0
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """From differences to horizontal places: ``low`` to ``high`` over STRIP_WIDTH units, with round ``ticks``."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def x(self, value: float) -> float:
        """The place of a value; one outside the scale lies at its edge."""
        share = (value - self.low) / (self.high - self.low)
        return _MARGIN + min(max(share, 0.0), 1.0) * (STRIP_WIDTH - 2 * _MARGIN)


def scale_for(values: Iterable[float]) -> Scale:
    """A scale that shows all finite values, and zero, between round ticks."""
    shown = [0.0, *(value for value in values if math.isfinite(value))]
    low, high = min(shown), max(shown)
    if high - low < 1e-9:
        low, high = -0.01, 0.01
    step = _round_step((high - low) / 3)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(at * step, 10) for at in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * 0.999)


def axis(scale: Scale) -> str:
    """The numbers of a scale, to stand above strips of the same scale."""
    digits = max(_decimals(tick) for tick in scale.ticks)
    marks = "".join(
        f'<text x="{scale.x(tick):.1f}" y="14" text-anchor="middle">{_tick(tick, digits)}</text>'
        f'<path d="M{scale.x(tick):.1f} 19v5" class="rule"/>'
        for tick in scale.ticks
    )
    return _svg(STRIP_WIDTH, 24, "axis", f'<g aria-hidden="true">{marks}</g>', "")


def _decimals(value: float) -> int:
    return len(f"{value:.6f}".rstrip("0").partition(".")[2])


def _tick(value: float, digits: int) -> str:
    return "0" if value == 0 else f"{value:+.{digits}f}".replace("-", "\u2212")


@dataclass(frozen=True, slots=True)
class Strip:
    """One row of a forest plot: a difference, its interval, the bound that the gate sets, and how it was judged."""

    delta: float
    low: float
    high: float
    bound: float | None
    tone: str
    label: str


def strip(row: Strip, scale: Scale) -> str:
    """One interval over the zero line. The gate's bound is a dashed line; the marker's shape repeats the tone."""
    middle = STRIP_HEIGHT / 2
    parts = [f'<path d="{_grid(scale)}" class="grid"/>']
    parts.append(f'<path d="M{scale.x(0.0):.1f} 0v{STRIP_HEIGHT}" class="zero"/>')
    if row.bound is not None and math.isfinite(row.bound):
        parts.append(f'<path d="M{scale.x(row.bound):.1f} 0v{STRIP_HEIGHT}" class="bound"/>')
    if math.isfinite(row.low) and math.isfinite(row.high):
        parts.append(f'<path d="{_whiskers(scale.x(row.low), scale.x(row.high), middle)}" class="whisker"/>')
    if math.isfinite(row.delta):
        parts.append(_marker(scale.x(row.delta), middle, row.tone))
    return _svg(STRIP_WIDTH, STRIP_HEIGHT, f"strip {escape(row.tone)}", "".join(parts), row.label)


def _grid(scale: Scale) -> str:
    return "".join(f"M{scale.x(tick):.1f} 0v{STRIP_HEIGHT}" for tick in scale.ticks if tick != 0)


def _whiskers(left: float, right: float, y: float) -> str:
    return f"M{left:.1f} {y - 4:g}v8M{left:.1f} {y:g}H{right:.1f}M{right:.1f} {y - 4:g}v8"


def _marker(x: float, y: float, tone: str) -> str:
    if tone == "good":
        return f'<circle cx="{x:.1f}" cy="{y:g}" r="5" class="marker"/>'
    if tone == "bad":
        return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:g}" width="9" height="9" class="marker"/>'
    return f'<path d="M{x:.1f} {y - 6:g}l6 6-6 6-6-6z" class="marker{" hollow" if tone == "plain" else ""}"/>'


def win_loss(deltas: Floats, reach: float, label: str) -> str:
    """What each query won (up) or lost (down), the most won first, on a scale from ``-reach`` to ``reach``.

    The drawing stretches to its place, so it carries no text; beyond MOST_BARS queries a bar is the mean of neighbours.
    """
    heights = _bars(np.sort(deltas)[::-1])
    width, half = max(len(heights), 1), 50.0
    tall = np.clip(heights / (reach or 1.0), -1.0, 1.0) * half
    gap = 0.15 if len(heights) <= 150 else 0.0
    drawing = (
        f'<path d="{_columns(np.where(tall > 0, tall, 0.0), half, gap)}" class="won"/>'
        f'<path d="{_columns(np.where(tall < 0, tall, 0.0), half, gap)}" class="lost"/>'
        f'<path d="M0 {half:g}H{width}" class="zero" vector-effect="non-scaling-stroke"/>'
    )
    return _svg(width, 2 * half, "winloss", drawing, label, stretch=True)


def _bars(ordered: Floats) -> Floats:
    if len(ordered) <= MOST_BARS:
        return ordered
    edges = np.linspace(0, len(ordered), MOST_BARS + 1).astype(np.int64)
    return np.array([ordered[start:end].mean() for start, end in pairwise(edges.tolist())])


def _columns(heights: Floats, zero: float, gap: float) -> str:
    wide = 1.0 - 2 * gap
    return "".join(
        f"M{at + gap:g} {zero:g}h{wide:g}v{-height:.1f}h{-wide:g}z"
        for at, height in enumerate(heights.tolist())
        if abs(height) >= 0.05
    )


def _svg(width: float, height: float, kind: str, drawing: str, label: str, *, stretch: bool = False) -> str:
    """An SVG element. With a label it is an image to a screen reader, without one it is decoration."""
    told = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    shape = 'preserveAspectRatio="none"' if stretch else f'width="{width:g}" height="{height:g}"'
    return f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" {shape} {told}>{drawing}</svg>'


def reach_of(all_deltas: Sequence[Floats]) -> float:
    """The largest change of any query, so that plots side by side share one scale; 1 where nothing changed."""
    largest = max((float(np.abs(deltas).max()) for deltas in all_deltas if len(deltas)), default=0.0)
    return largest or 1.0
