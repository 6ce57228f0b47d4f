"""catalog copy: the catalog moves to another database."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from regen.cli.session import Session
from regen.cli.verb import verb


class Action(Enum):
    """What can be done with catalogs as a whole."""

    COPY = "copy"


@verb
def catalog(
    session: Session,
    action: Annotated[Action, typer.Argument(metavar="copy", help="Copy a catalog to another database.")],  # noqa: ARG001 - there is one
    origin: Annotated[str, typer.Argument(metavar="FROM", help="The catalog's URL, as in catalog.url.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The URL of an empty or new one.")],
) -> None:
    """Copy a catalog from SQLite to PostgreSQL or back, checked by counts and digests; vectors stay where they are."""
    from regen.registry import copy_catalog  # noqa: PLC0415 - heavy; only when this verb runs

    copied = copy_catalog(origin, target, session.config.parent)
    rows = sum(copied.values())
    session.answer(
        {"tables": copied, "rows": rows},
        [
            f"Copied {rows:,} rows of {len(copied)} tables; what was written was read back and is the same.",
            "Name the copy in catalog.url. Nothing may write the original from now on.",
        ],
    )
