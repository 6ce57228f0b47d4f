"""promote and rollback: which generation answers the searches."""

from __future__ import annotations

from typing import Annotated

import typer

from regen.cli.session import Session
from regen.cli.verb import verb

ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; regen history shows it with who did it and when.")
]


@verb
def promote(
    session: Session,
    generation: Annotated[
        int | None, typer.Argument(metavar="[G]", help="A generation's number; without it the newest that is ready.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overrule the gate; needs --reason, and is recorded.")] = False,
    reason: ReasonOption = None,
) -> None:
    """Let a generation that meets the gate answer the searches; the former one is kept in step, for regen rollback."""
    from regen.cli.rendering_switches import switch_lines  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index, session.progress() as progress:
        result = index.promote(generation, force=force, reason=reason or "", progress=progress)
    session.answer(result.to_dict(), switch_lines(result))


@verb
def rollback(
    session: Session,
    to: Annotated[
        int | None, typer.Option("--to", metavar="G", help="A retained generation; without it the previous one.")
    ] = None,
    reason: ReasonOption = None,
) -> None:
    """Go back to the generation before, with every change that was made since."""
    from regen.cli.rendering_switches import switch_lines  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index:
        result = index.rollback(to, reason=reason or "")
    session.answer(result.to_dict(), switch_lines(result))
