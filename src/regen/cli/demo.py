"""demo: see it work on real documents in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regen.cli.session import Session
from regen.cli.verb import verb


@verb
def demo(
    session: Session,
    docs: Annotated[
        Path | None,
        typer.Argument(metavar="[DOCS]", help="A folder of your own Markdown or text. It is copied, never touched."),
    ] = None,
) -> None:
    """Index real documents, change them, and watch search follow each change at once."""
