"""demo: see it work on real documents in a minute. It is a check too: an expectation that does not hold fails it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regen.cli.exits import ExitCode
from regen.cli.session import Session, show
from regen.cli.verb import verb
from regen.errors import ConfigError

if TYPE_CHECKING:
    from regen.cli.demo_bench import Bench
    from regen.cli.demo_steps import Step


@verb
def demo(
    session: Session,
    docs: Annotated[
        Path | None,
        typer.Argument(metavar="[DOCS]", help="A folder of your own Markdown or text. It is copied, never touched."),
    ] = None,
) -> None:
    """Index real documents, change them, then change the model, and watch search follow each change at once."""
    from regen.cli.demo_folder import fresh_folder  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.cli.rendering_demo import closing_lines, opening_lines  # noqa: PLC0415 - likewise

    if docs is not None and not docs.is_dir():
        raise ConfigError(
            f"{docs} is not a folder", hint="regen demo takes a folder of Markdown or plain text, or nothing"
        )
    started = time.perf_counter()
    folder = fresh_folder(Path.cwd())
    bench = _bench(docs, folder)
    if not session.json:
        show(opening_lines(bench.title, folder))
    steps = _play(session, bench, folder)
    passed = all(step.passed for step in steps)
    data = {"folder": str(folder), "passed": passed, "steps": [step.to_dict() for step in steps]}
    session.answer(data, closing_lines(steps, time.perf_counter() - started, folder, docs))
    if not passed:
        raise typer.Exit(ExitCode.ERROR)


def _bench(docs: Path | None, folder: Path) -> Bench:
    from regen.cli.demo_beir import JudgedBench, is_judged  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.cli.demo_bench import FolderBench, LibraryBench  # noqa: PLC0415 - likewise

    if docs is None:
        return LibraryBench(folder)
    return JudgedBench(docs, folder) if is_judged(docs) else FolderBench(docs, folder)


def _play(session: Session, bench: Bench, folder: Path) -> list[Step]:
    """Run all steps, showing each when it is done."""
    from regen.cli.demo_script import Demonstration  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.cli.rendering_demo import heading_before, step_lines  # noqa: PLC0415 - likewise

    done: list[Step] = []
    with bench.open() as index:
        steps = Demonstration(bench, index, folder).steps
        with session.progress() as progress:
            running = steps(progress)
            done.append(next(running))
        if not session.json:
            show([*heading_before(done[0], None), *step_lines(done[0])])
        for step in running:
            if not session.json:
                show([*heading_before(step, done[-1]), *step_lines(step)])
            done.append(step)
    return done
