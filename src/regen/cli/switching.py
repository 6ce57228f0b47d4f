"""promote and rollback: which generation answers the searches."""

from __future__ import annotations

from typing import Annotated

import typer

from regen.cli.exits import UsageError
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
    canary: Annotated[
        float | None,
        typer.Option("--canary", metavar="PCT", min=0.1, max=100, help="First for so many percent of the callers."),
    ] = None,
    route: Annotated[
        str | None,
        typer.Option("--route", metavar="ROUTE", help="First as canary, ab, shadow or interleaved: see regen rollout."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overrule the gate; needs --reason, and is recorded.")] = False,
    reason: ReasonOption = None,
) -> None:
    """Let a generation that meets the gate answer the searches; the former one is kept in step, for regen rollback."""
    from regen.cli.rendering_switches import switch_lines  # noqa: PLC0415 - heavy; only when this verb runs

    if canary is not None or route is not None:
        _begin(session, generation, canary, route or "canary", reason)
        return
    with session.index() as index, session.progress() as progress:
        result = index.promote(generation, force=force, reason=reason or "", progress=progress)
    session.answer(result.to_dict(), switch_lines(result))


def _begin(session: Session, generation: int | None, percent: float | None, route: str, reason: str | None) -> None:
    """Let the generation serve beside the live one first."""
    from regen.cli.rollouts import begun  # noqa: PLC0415 - only for a rollout
    from regen.quality.rollouts import COMPARING  # noqa: PLC0415 - statistics are heavy

    if route not in COMPARING:
        raise UsageError(f"--route is {route!r}", hint=f"valid: {', '.join(COMPARING)}")
    with session.index() as index:
        weight = None if percent is None else percent / 100
        shown = index.begin_rollout(generation, route=route, weight=weight, reason=reason or "")
    begun(session, shown)


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
