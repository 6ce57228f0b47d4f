"""Evaluate: whether a generation is good enough to go live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regen.cli.exits import ExitCode, UsageError
from regen.cli.session import Session
from regen.cli.verb import verb


@verb
def evaluate(
    session: Session,
    generation: Annotated[
        int | None,
        typer.Argument(
            metavar="[G]", help="A generation's number; without it the newest that is ready, else the live one."
        ),
    ] = None,
    against: Annotated[
        int | None, typer.Option("--against", metavar="G", help="Compare with this generation instead of the live one.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write the report as one HTML page.")
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Instead judge the configured reranker: searches with and without it.")
    ] = False,
    queries: Annotated[bool, typer.Option("--queries", help="With --json: also every query's outcome.")] = False,
) -> None:
    """Measure a generation on the judged queries and live data; exit code 3 when the gate is not met."""
    from regen.cli.rendering_evaluate import evaluation_lines  # noqa: PLC0415 - heavy; only when this verb runs

    if rerank:
        _judge_reranker(session, alone=(generation, against, report) == (None, None, None) and not queries)
        return
    with session.index() as index, session.progress() as progress:
        found = index.evaluate(generation, against="live" if against is None else against, progress=progress)
    if report is not None:
        from regen.evaluation.html import render_html  # noqa: PLC0415 - heavy; only who wants a page

        report.write_text(render_html(found), encoding="utf-8")
    session.answer(found.to_dict(queries=queries), evaluation_lines(found, report))
    if not found.met:
        raise typer.Exit(ExitCode.CHANGES)


def _judge_reranker(session: Session, *, alone: bool) -> None:
    """The live generation with and without the reranker. Raises UsageError beside options about generations."""
    from regen.cli.rendering_rerank import judgement_lines  # noqa: PLC0415 - heavy; only when this verb runs

    if not alone:
        raise UsageError(
            "--rerank judges the reranker on the live generation, and goes with no other option",
            hint="regen evaluate --rerank",
        )
    with session.index() as index, session.progress() as progress:
        found = index.judge_reranker(progress=progress)
    session.answer(found.to_dict(), judgement_lines(found))
    if not found.helps:
        raise typer.Exit(ExitCode.CHANGES)
