"""Progress bars fit into a terminal and tell rate, totals and cost."""

from __future__ import annotations

import io

from rich.console import Console

from regen.cli.progress import ProgressBars
from regen.core.results import Progress


def shown(*reports: Progress) -> str:
    """The last picture of the bars on a terminal of 80 columns."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, legacy_windows=False)
    bars = ProgressBars(console)
    for report in reports:
        bars.report(report)
    with console.capture() as captured:
        console.print(bars._bars.get_renderable())
    return captured.get()


def test_stages_stand_under_each_other() -> None:
    """One line a stage, none of them wrapped; a stage of unknown length ends when the next begins."""
    picture = shown(
        Progress("scan", 5001, None),
        Progress("index", 1000, 5001, embedded_texts=987, cost_usd=0.0123),
        Progress("index", 4000, 5001, embedded_texts=3987, cost_usd=0.0123),
    )
    lines = [line for line in picture.splitlines() if line.strip()]
    assert len(lines) == 2
    assert "5,001/5,001 documents" in lines[0]
    assert "4,000/5,001 documents" in lines[1]
    assert "3,987 embedded" in lines[1]


def test_an_unknown_total_shows_what_is_done() -> None:
    """While nobody knows how much there is, the count alone is told."""
    assert "12 points" in shown(Progress("verify", 12, None, unit="points"))


def test_a_stage_that_runs_again_gets_a_line_of_its_own() -> None:
    """The backfill of a new generation does not run backwards on the bar of the sync before it."""
    picture = shown(
        Progress("index", 12, 12),
        Progress("index", 2000, 5001, embedded_texts=1987, cost_usd=0.0123),
        Progress("index", 4000, 5001, embedded_texts=3987, cost_usd=0.0123),
    )
    assert "4,000/5,001 documents" in picture
    again = shown(Progress("index", 400, 400), Progress("index", 3, 5001))
    assert [line.count("documents") for line in again.splitlines() if line.strip()] == [1, 1]
    assert "400/400" in again
    assert "3/5,001" in again
