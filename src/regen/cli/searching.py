"""search: ask the index, as someone, under conditions."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from regen.cli.conditions import parse_conditions
from regen.cli.exits import UsageError
from regen.cli.session import Session
from regen.cli.verb import verb
from regen.errors import RegenError

AsWho = Annotated[
    list[str] | None,
    typer.Option("--as", metavar="WHO", help="Search as this principal (repeatable). Without it: public only."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COND",
        help="lang=en, 'year>=2020', 'lang in en,de', draft (present), !draft (absent). Repeatable, joined by AND.",
    ),
]


@verb
def search(  # noqa: PLR0913 - each is an option of the command line
    session: Session,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The question, in plain language.")],
    *,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many hits.")] = 10,
    as_who: AsWho = None,
    where: Where = None,
    generation: Annotated[
        int | None, typer.Option("--generation", "-g", metavar="G", help="This generation, not the live one.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="WHO", help="The caller: a rollout always treats one alike.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also tell how the answer came about.")] = False,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Use the configured reranker, or do not.")
    ] = True,
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="By meaning and by words, where the store has both: two lists fused.")
    ] = False,
    keyword: Annotated[bool, typer.Option("--keyword", help="By words alone; no model is asked.")] = False,
    unrestricted: Annotated[
        bool, typer.Option("--unrestricted", help="Search everything, whoever may see it.")
    ] = False,
) -> None:
    """Search the live generation; every hit has passed the fence."""
    from regen.cli.rendering_search import search_lines  # noqa: PLC0415 - heavy; only when this verb runs
    from regen.core.documents import UNRESTRICTED  # noqa: PLC0415 - likewise

    if unrestricted and as_who:
        raise UsageError("--unrestricted and --as do not go together", hint="say either who asks, or that nobody does")
    if hybrid and keyword:
        raise UsageError("--hybrid and --keyword do not go together", hint="--hybrid looks for the words too")
    conditions = parse_conditions(where or ())
    principals = UNRESTRICTED if unrestricted else as_who or None
    with session.index() as index:
        if rerank:
            with suppress(RegenError):  # the search tells it
                index.warm_reranker()
        result = index.search(
            text,
            k,
            where=conditions,
            principals=principals,
            generation=generation,
            key=key,
            rerank=rerank,
            mode="hybrid" if hybrid else "keyword" if keyword else "vector",
        )
    lines = search_lines(result, explain=explain, public_only=principals is None)
    session.answer(result.to_dict(explain=explain), lines)
