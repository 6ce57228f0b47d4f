"""status and history: where things stand, and how they came to."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from regen.cli.session import Session
from regen.cli.verb import verb


@verb
def status(session: Session) -> None:
    """Tell whether search is in step, what is behind, and what could not be processed."""
    from regen.cli.rendering_status import status_lines  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index:
        report = index.status()
    session.answer(report.to_dict(), status_lines(report, time.time()))


@verb
def history(
    session: Session,
    document: Annotated[str | None, typer.Argument(metavar="[DOC]", help="Only this document's changes.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many changes (and switches), newest first.")
    ] = 50,
    audit: Annotated[
        bool, typer.Option("--audit", help="What operators did instead: who, what, from where, and what came of it.")
    ] = False,
) -> None:
    """Show the change log: what changed when, what can be restored, and who switched between generations."""
    from regen.cli.rendering_status import history_lines  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.cli.rendering_switches import switches_lines  # noqa: PLC0415 - likewise

    if audit:
        _show_audit(session, limit)
        return
    with session.index() as index:
        changes = index.history(document, limit=limit)
        switches = [] if document is not None else index.switches()[:limit]
    data: dict[str, Any] = {"changes": [asdict(change) for change in changes]}
    if document is None:
        data["switches"] = [asdict(switch) for switch in switches]
    session.answer(data, [*history_lines(changes, document), *switches_lines(switches)])


def _show_audit(session: Session, limit: int) -> None:
    with session.index() as index:
        found = index.audited(limit)
    lines = [
        f"  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(item.at))}  {item.actor}"
        f"{f' from {item.origin}' if item.origin else ''}: {item.action} {_told(item.details)}→ {item.outcome}"
        for item in found
    ]
    session.answer({"audit": [asdict(item) for item in found]}, lines or ["No operator has done anything yet."])


def _told(details: dict[str, Any]) -> str:
    return "".join(f"{name}={value} " for name, value in details.items() if value not in (None, "", [], {}, False))
