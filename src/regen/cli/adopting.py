"""adopt: go on with a collection that something else has built."""

from __future__ import annotations

from typing import Annotated

import typer

from regen.cli.exits import UsageError
from regen.cli.session import Session
from regen.cli.verb import verb
from regen.errors import ConfigError, RegenError


@verb
def adopt(  # noqa: PLR0917 - one parameter an option
    session: Session,
    store: Annotated[
        str,
        typer.Argument(metavar="STORE_URL", help="Where the collection lies; regen.yaml's store, or another one."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="M", help="The model of its vectors; needed where no regen.yaml says it."
        ),
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="NAME", help="Which collection, where there are several.")
    ] = None,
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
    fresh, begun = _configure(session, model), False
    try:
        with session.index() as index, session.progress() as progress:
            try:
                result = index.adopt(store, collection=collection, columns=columns, progress=progress)
            finally:
                begun = bool(index.status().generations)
    except RegenError:
        if fresh and not begun:
            session.config.unlink()  # what was refused leaves no configuration that says otherwise
        raise
    session.answer(
        result.to_dict() | {"config": str(session.config)},
        adopt_lines(result, written=session.config if fresh else None),
    )


def _configure(session: Session, model: str | None) -> bool:
    """Let there be a regen.yaml that says the model; whether it was written now. Raises UsageError, ConfigError."""
    from regen.config import load_settings, parse_settings, render_adopting  # noqa: PLC0415 - heavy; only for this verb

    if session.config.exists():
        configured = load_settings(session.config).embedding.model
        if model not in {None, configured}:
            raise ConfigError(
                f"{session.config} says model {configured!r}, --model says {model!r}",
                hint="the model of an index is that of its regen.yaml: leave --model out, or correct the file",
            )
        return False
    if model is None:
        raise UsageError(
            f"there is no {session.config} that says which model made the vectors", hint="say it: --model MODEL"
        )
    text = render_adopting(model, session.config.parent)
    parse_settings(text, root=session.config.parent)
    try:
        session.config.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{session.config} cannot be written: {error.strerror}") from None
    return True
