"""queries: a first judged collection, from proposals to the two files that an evaluation reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regen.cli.session import Session
from regen.cli.verb import verb


@verb
def queries(  # noqa: PLR0917 - each is an option of the command line
    session: Session,
    review: Annotated[
        Path | None,
        typer.Option("--review", metavar="FILE", help="The review file, from regen.yaml's folder: eval/review.jsonl."),
    ] = None,
    titles: Annotated[
        int, typer.Option("--titles", metavar="N", min=0, help="Propose at most N titles and headings of documents.")
    ] = 0,
    clicked: Annotated[
        int, typer.Option("--clicked", metavar="N", min=0, help="Propose at most N searches of the query log.")
    ] = 0,
    written: Annotated[
        int, typer.Option("--written", metavar="N", min=0, help="Let evaluation.writer write N queries.")
    ] = 0,
    seed: Annotated[str, typer.Option("--seed", metavar="TEXT", help="Another seed draws other documents.")] = "regen",
    write: Annotated[
        bool, typer.Option("--write", help="Write what was accepted as queries.jsonl and qrels.tsv beside the file.")
    ] = False,
) -> None:
    """Make a first judged collection: propose queries, review them by hand, write those that you accept."""
    from regen.cli.rendering_queries import queries_lines  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.verbs.queries import REVIEW  # noqa: PLC0415 - likewise

    review = review or Path(REVIEW)
    with session.index() as index, session.progress() as progress:
        reports = index.propose_queries(
            review, titles=titles, clicked=clicked, written=written, seed=seed, progress=progress
        )
        written_to = index.write_queries(review) if write else None
        states = index.review_states(review)
    data: dict[str, Any] = {
        "review": str(review),
        "proposals": [report.to_dict() for report in reports],
        "states": states,
        "collection": None if written_to is None else written_to.to_dict(),
    }
    root = session.config.resolve().parent
    session.answer(data, queries_lines(review, reports, states, written_to, root))
