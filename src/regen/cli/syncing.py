"""sync, plan, apply, retry, restore, replay: the verbs that bring the index in step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer

from regen.cli.exits import ExitCode, UsageError
from regen.cli.session import Session, show
from regen.cli.verb import verb
from regen.errors import ConfigError

if TYPE_CHECKING:
    from regen.core.plan import Plan
    from regen.core.results import SyncResult
    from regen.index import Index

MassDeleteOption = Annotated[
    bool, typer.Option("--allow-mass-delete", help="Let the source lose any share of its documents at once.")
]


@verb
def sync(
    session: Session,
    source: Annotated[
        str | None, typer.Option("--source", "-s", metavar="NAME", help="Only this one of several sources.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on: follow the sources as they change.")] = False,
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Go on: run what regen.yaml gives a cron expression, when it is due.")
    ] = False,
    allow_mass_delete: MassDeleteOption = False,
) -> None:
    """Bring the index in step with its sources: documents only, never a new generation."""
    going_on = " ".join(name for name, wanted in (("--watch", watch), ("--schedule", schedule)) if wanted)
    with session.index() as index:
        if going_on:
            for option, given in (("--allow-mass-delete", allow_mass_delete), ("--source", source is not None)):
                if given:
                    raise UsageError(
                        f"{going_on.split()[0]} and {option} do not go together",
                        hint=f"run regen sync {option} once, then regen sync {going_on}",
                    )
            from regen.cli.following import go_on  # noqa: PLC0415 - only for who goes on

            go_on(session, index.scheduler(follow=watch, timed=schedule))
            return
        with session.progress() as progress:
            result = index.sync(source, allow_mass_delete=allow_mass_delete, progress=progress)
        _answer(session, index, result)


@verb
def plan(
    session: Session,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="P", help="Also write the plan, for regen apply P.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 when there are changes.")] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            metavar="N",
            min=0,
            help="Send the new model up to N texts to measure what it changes; 0: none. Default: 200 of a local model.",
            show_default=False,
        ),
    ] = None,
    allow_mass_delete: MassDeleteOption = False,
) -> None:
    """Show what would restore consistency, why, and what it costs; change nothing."""
    from regen.cli.rendering_plan import plan_lines  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index, session.progress() as progress:
        made = index.plan(allow_mass_delete=allow_mass_delete, sample=sample, progress=progress)
    if out is not None:
        _write_plan(made, out)
    session.answer(made.to_dict(), plan_lines(made))
    if not session.json and not made.empty:
        session.remark(f"Run exactly this with: regen apply {out}" if out else "Carry it out with: regen apply")
    if check and not made.empty:
        raise typer.Exit(ExitCode.CHANGES)


@verb
def apply(
    session: Session,
    file: Annotated[Path | None, typer.Argument(metavar="[P]", help="A plan that regen plan --out wrote.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    engine: Annotated[
        Literal["threads", "ray"],
        typer.Option("--engine", help="Who embeds: this process (and workers), or the actors of a Ray cluster."),
    ] = "threads",
    promote: Annotated[
        bool, typer.Option("--promote", help="Make what it builds live, if the gate is met (else exit code 3).")
    ] = False,
    allow_mass_delete: MassDeleteOption = False,
) -> None:
    """Run a plan: exactly its steps, or none when the world has moved on since (exit code 4)."""
    from regen.cli.rendering_plan import plan_lines  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.cli.rendering_sync import build_lines  # noqa: PLC0415 - as above

    with session.index() as index:
        if file is not None:
            made = _read_plan(file)
        else:
            with session.progress() as progress:
                made = index.plan(allow_mass_delete=allow_mass_delete, progress=progress)
        if not yes and not made.empty:
            show(plan_lines(made), error=True)
            question = "Apply this plan, and make what it builds live?" if promote else "Apply this plan?"
            if not session.confirm(question, hint="run regen apply --yes, or look first: regen plan"):
                session.remark("Nothing was applied.")
                raise typer.Exit(ExitCode.ERROR)
        with session.progress() as progress:
            result = index.apply(
                made, allow_mass_delete=allow_mass_delete, engine=engine, promote=promote, progress=progress
            )
        if made.from_generation in {None, made.to_generation}:
            _answer(session, index, result)
        else:
            session.answer(result.to_dict(), build_lines(result, index.status()))


@verb
def retry(
    session: Session,
    document: Annotated[
        list[str] | None,
        typer.Option(
            "--document", "-d", metavar="ID", help="Embed this document anew, whatever is held of it; repeatable."
        ),
    ] = None,
) -> None:
    """Try again the documents that could not be processed; or embed named ones anew, in every complete generation."""
    with session.index() as index, session.progress() as progress:
        result = index.reprocess(document, progress) if document else index.retry(progress=progress)
        _answer(session, index, result)


@verb
def restore(
    session: Session,
    document: Annotated[str, typer.Argument(metavar="DOC", help="The document's id.")],
    revision: Annotated[
        int, typer.Option("--revision", "-r", metavar="R", help="A revision that regen history DOC calls restorable.")
    ],
) -> None:
    """Bring back a document as it was at an earlier revision."""
    with session.index() as index:
        _answer(session, index, index.restore(document, revision))


@verb
def replay(
    session: Session,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="2h, 7d, 2026-03-01, 2026-03-01T12:00.", show_default=False)
    ],
) -> None:
    """Carry out again every change since a point in time."""
    from regen.cli.moments import parse_moment  # noqa: PLC0415 - heavy; only when this verb runs

    moment = parse_moment(since, time.time())
    with session.index() as index, session.progress() as progress:
        result = index.replay(moment, progress=progress)
        _answer(session, index, result)


def _answer(session: Session, index: Index, result: SyncResult) -> None:
    from regen.cli.rendering_sync import sync_lines  # noqa: PLC0415 - heavy; only when a verb has run

    letters = index.status().dead_letters if result.documents.failed and not session.json else []
    session.answer(result.to_dict(), sync_lines(result, letters))


def _write_plan(made: Plan, out: Path) -> None:
    try:
        out.write_bytes(orjson.dumps(made.to_dict(), option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise ConfigError(f"the plan cannot be written to {out}: {error.strerror}") from None


def _read_plan(file: Path) -> Plan:
    from regen.core.plan import Plan  # noqa: PLC0415 - only when a plan is read

    try:
        data: Any = orjson.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"the plan {file} cannot be read: {error.strerror}", hint=f"regen plan --out {file}"
        ) from None
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{file} is not a plan: {error}", hint=f"make one with regen plan --out {file}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{file} is not a plan: no JSON object", hint=f"make one with regen plan --out {file}")
    return Plan.from_dict(data)


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C or SIGTERM sets; a second one interrupts at once."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    former = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
