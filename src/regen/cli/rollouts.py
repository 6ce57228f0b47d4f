"""rollout and feedback: two generations serve, and what users do decides between them."""

from __future__ import annotations

from typing import Annotated

import typer

from regen.cli.exits import UsageError
from regen.cli.session import Session
from regen.cli.verb import verb


@verb
def rollout(
    session: Session,
    advance: Annotated[bool, typer.Option("--advance", help="Judge it now, without waiting for its interval.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Step up no further; failures still abort it.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a pause.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="End it: the live generation answers everybody.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")] = None,
) -> None:
    """Show the rollout that is under way: who is answered by what, and what has been learned; or change its course."""
    from regen.cli.rendering_rollouts import rollout_data, rollout_lines  # noqa: PLC0415 - heavy; when this verb runs

    if sum((advance, pause, resume, abort)) > 1:
        raise UsageError("--advance, --pause, --resume and --abort exclude each other", hint="give one of them")
    with session.index() as index:
        if advance:
            index.advance_rollout(force=True)
        elif pause:
            index.pause_rollout(reason or "paused by hand")
        elif resume:
            index.resume_rollout()
        elif abort:
            index.abort_rollout(reason or "aborted by hand")
        shown = index.rollout() or next(iter(index.rollouts(1)), None)
    session.answer({"rollout": None if shown is None else rollout_data(shown)}, rollout_lines(shown))


@verb
def feedback(
    session: Session,
    query: Annotated[str, typer.Argument(metavar="QUERY_ID", help="The query_id that the search gave.")],
    documents: Annotated[list[str], typer.Argument(metavar="DOC...", help="The documents that the user took.")],
) -> None:
    """Tell which documents of a search a user took; a rollout learns from it, and so does a starter collection."""
    from regen.cli.layout import good  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index:
        index.feedback(query, documents)
    session.answer({"query_id": query, "clicked": documents}, [good(f"{query}: noted")])


def begun(session: Session, shown: object) -> None:
    """Tell of a rollout that was begun by promote."""
    from regen.cli.rendering_rollouts import rollout_data, rollout_lines  # noqa: PLC0415 - heavy; when this verb runs
    from regen.ports.rollouts import Rollout  # noqa: PLC0415 - likewise

    assert isinstance(shown, Rollout)
    session.answer({"rollout": rollout_data(shown)}, rollout_lines(shown))
