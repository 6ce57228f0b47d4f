"""pause and resume: a backfill is held up, in whatever process it runs, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from regen.cli.session import Session
from regen.cli.verb import verb

if TYPE_CHECKING:
    from rich.text import Text

    from regen.core.results import PauseResult

Which = Annotated[
    int | None, typer.Argument(metavar="[G]", help="A generation's number; without it the one that is being built.")
]


@verb
def pause(
    session: Session,
    generation: Which = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; regen status shows it with who did it.")
    ] = None,
) -> None:
    """Let a backfill stop before its next batch, also one of another process; syncs and searches go on."""
    with session.index() as index:
        result = index.pause(generation, reason=reason or "")
    session.answer(result.to_dict(), _lines(result))


@verb
def resume(session: Session, generation: Which = None) -> None:
    """End a pause: the next regen apply goes on where the backfill stopped."""
    with session.index() as index:
        result = index.resume(generation)
    session.answer(result.to_dict(), _lines(result))


def _lines(result: PauseResult) -> Iterator[Text]:
    from regen.cli.layout import good, hint, labelled  # noqa: PLC0415 - heavy; only when a verb has run
    from regen.cli.quantities import count, counted  # noqa: PLC0415 - as above

    number, held = result.generation, f"{counted(result.documents, 'document')} in it"
    if result.paused is not None:
        yield good(f"The backfill of generation {number} is paused")
        yield labelled("by", result.paused)
    else:
        yield good(f"The backfill of generation {number} may go on")
    yield labelled("so far", f"{held}, {count(result.pending)} to go")
    yield hint(f"let it go on: regen resume {number}" if result.paused is not None else "go on: regen apply")
