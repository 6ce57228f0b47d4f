"""init and doctor: from nothing to a configuration that works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regen.cli.exits import ExitCode, UsageError
from regen.cli.session import Session
from regen.cli.verb import verb
from regen.errors import ConfigError


@verb
def init(
    session: Session,
    target: Annotated[
        Path,
        typer.Argument(metavar="[DIR]", help="A folder of Markdown or text, or a .jsonl file.", show_default=False),
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a regen.yaml that is there already.")] = False,
) -> None:
    """Write a commented regen.yaml for what lies in a folder."""
    from regen.cli.rendering_upkeep import init_lines  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.config import detect, parse_settings, render_template  # noqa: PLC0415 - likewise

    if "://" in str(target) or ":/" in str(target):
        raise UsageError(f"{target} is a URL", hint="regen init takes a folder or a .jsonl file on this machine")
    if session.config.exists() and not force:
        raise ConfigError(f"{session.config} is there already", hint="edit it, or replace it with regen init --force")
    detected = detect(target, session.config.parent)
    text = render_template(detected)
    settings = parse_settings(text, root=session.config.parent)
    try:
        session.config.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{session.config} cannot be written: {error.strerror}") from None
    data = {"config": str(session.config), "alias": settings.alias, "source": settings.source}
    session.answer({**data, "documents": detected.documents}, init_lines(session.config, detected))


@verb
def doctor(session: Session) -> None:
    """Check configuration, source, model, store and catalog; change nothing."""
    from regen.cli.rendering_upkeep import doctor_lines  # noqa: PLC0415 - heavy; only when this verb runs

    with session.index() as index:
        report = index.doctor()
    session.answer(report.to_dict(), doctor_lines(report))
    if not report.healthy:
        raise typer.Exit(ExitCode.ERROR)
