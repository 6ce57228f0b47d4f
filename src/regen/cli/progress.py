"""Progress bars on standard error: one line a stage, with rate and time left."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from regen.cli.quantities import count, money
from regen.core.results import Progress as Report

RATE_SECONDS: Final = 300.0
"""Over so long the rate is taken: a batch of a slow model may take a minute, and there is a report only after each."""


class _Done(ProgressColumn):
    """``1,234/5,001 documents``, or only what is done while the total is unknown."""

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{count(task.total)}"
        return Text(f"{count(task.completed)}{total} {task.fields['unit']}", style="progress.download")


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{count(speed)}/s", style="progress.data.speed")


class _Spent(ProgressColumn):
    """Texts embedded so far, or what slows the run down meanwhile, and money spent."""

    def render(self, task: Task) -> Text:
        texts, cost, note = (task.fields[name] for name in ("embedded_texts", "cost_usd", "note"))
        done = note or (f"{count(texts)} embedded" if texts else "")  # both would not fit into 80 columns
        return Text(" · ".join(filter(None, [done, money(cost) if cost else ""])), style="dim")


class ProgressBars:
    """Shows the reports of one run. The bars vanish when it ends; the answer says what was done."""

    def __init__(self, console: Console | None = None) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=14),  # all of it fits into 80 columns
            _Done(Column(no_wrap=True)),
            _Rate(Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True, min_width=5)),
            _Spent(Column(no_wrap=True)),
            console=console or Console(stderr=True),
            transient=True,
            speed_estimate_period=RATE_SECONDS,
        )
        self._stages: dict[str, TaskID] = {}

    def report(self, report: Report) -> None:
        """Take one report; a stage not seen yet gets a line of its own."""
        task = self._stages.get(report.stage)
        if task is None or self._begins_anew(task, report):
            self._finish_former()
            task = self._bars.add_task(
                report.stage, total=report.total, unit=report.unit, embedded_texts=0, cost_usd=0, note=""
            )
            self._stages[report.stage] = task
        self._bars.update(
            task,
            completed=report.done,
            total=report.total,
            unit=report.unit,
            embedded_texts=report.embedded_texts,
            cost_usd=report.cost_usd,
            note=report.note,
        )

    def _begins_anew(self, task: TaskID, report: Report) -> bool:
        """Whether a stage runs again, for another generation: it gets a line and a rate of its own."""
        return next(item.completed for item in self._bars.tasks if item.id == task) > report.done

    def _finish_former(self) -> None:
        """A stage whose total nobody knew is over when the next one begins."""
        for task in self._bars.tasks:
            if task.total is None:
                self._bars.update(task.id, total=task.completed)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
