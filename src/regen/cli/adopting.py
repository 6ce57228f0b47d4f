"""adopt: go on with a collection that something else has built."""

from __future__ import annotations

from typing import Annotated

import typer

from regen.cli.session import Session
from regen.cli.verb import verb


@verb
def adopt(
    session: Session,
    collection: Annotated[
        str, typer.Argument(metavar="COLLECTION", help="A collection (table) of the store that regen.yaml names.")
    ],
    id_column: Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Which column holds the ids.")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="COLUMN", help="Which holds the texts.")] = None,
    vector: Annotated[str | None, typer.Option("--vector", metavar="COLUMN", help="Which holds the vectors.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="COLUMN", help="Metadata to take over; repeatable. Without it all others."),
    ] = None,
) -> None:
    """Take over a collection that regen did not build, if its vectors are the model's; no text is embedded again."""
    from regen.cli.rendering_upkeep import adopt_lines  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.ports import ForeignColumns  # noqa: PLC0415 - likewise

    columns = ForeignColumns(id_column, text, vector, tuple(metadata) if metadata else None)
    with session.index() as index, session.progress() as progress:
        result = index.adopt(collection, columns=columns, progress=progress)
    session.answer(result.to_dict(), adopt_lines(result))
