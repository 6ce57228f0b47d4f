"""A judgement of a reranker as lines: the verdict, why, and each measure without and with it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from regen.cli.layout import bad, good, hint, labelled, note, table
from regen.cli.quantities import counted
from regen.evaluation.reranking import RerankJudgement
from regen.evaluation.wording import score, signed


def judgement_lines(found: RerankJudgement) -> Iterator[Text]:
    """The whole of what a terminal shows of a judgement."""
    if found.helps:
        yield good(f"{found.model} helps: searches are reranked")
    else:
        yield bad(f"{found.model} does not surely help: it is switched off")
    yield Text(f"  {found.reason}")
    rows = [
        (name, score(before), score(found.reranked[name]), signed(found.reranked[name] - before))
        for name, before in found.without.items()
    ]
    yield from table(("measure", "without", "reranked", "change"), rows, right=(1, 2, 3))
    yield labelled("judged", f"{counted(found.queries, 'query', 'queries')} of generation {found.generation}")
    if found.milliseconds is not None:
        times = ", ".join(f"{name} {value:.0f} ms" for name, value in found.milliseconds.items())
        yield labelled("took", f"{times} for {counted(found.depth, 'text')} a query")
    for text in found.notes:
        yield note(text)
    if not found.helps:
        yield hint("another model, depth or top under `rerank` is judged anew; without the block nothing is reranked")
