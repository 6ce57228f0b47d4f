"""A review file and what became of it as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.text import Text

from regen.cli.layout import good, hint, labelled, listed, note
from regen.cli.quantities import count, counted
from regen.quality.starter import CollectionReport, ReviewReport


def queries_lines(
    review: Path,
    reports: Sequence[ReviewReport],
    states: Mapping[str, int],
    written: CollectionReport | None,
    root: Path,
) -> Iterator[Text]:
    """What was proposed, what was decided so far, what was written, and the next step."""
    for report in reports:
        yield good(f"{counted(report.added, 'query', 'queries')} proposed") if report.added else note("nothing new")
        if report.known:
            yield labelled("known", f"{count(report.known)} of the proposals were in the file already")
        yield from (labelled("passed over", text) for text in report.notes)
    yield labelled("review", str(review))
    yield labelled("states", listed(f"{count(number)} {state}" for state, number in states.items()))
    if written is not None:
        yield from _written(written, root)
    elif not any(states.values()):
        yield hint("propose some: regen queries --titles 100")
    elif states["pending"]:
        yield hint(f'read {review}, and set each "state" to accepted, edited or rejected')
        yield hint("then: regen queries --write")
    else:
        yield hint("regen queries --write")


def _written(written: CollectionReport, root: Path) -> Iterator[Text]:
    queries, qrels = (_shown(path, root) for path in (written.queries, written.qrels))
    yield good(f"{counted(written.count, 'judged query', 'judged queries')} in {queries} and {qrels}")
    yield from map(note, written.notes)
    yield hint("in regen.yaml:")
    yield Text("      evaluation:")
    yield Text(f"        collections: [{{name: starter, queries: {queries}, qrels: {qrels}}}]")
    yield Text("      gate:")
    yield Text('        - {measure: "RR@10", max_drop: 0.02}')
    yield hint("then: regen evaluate")


def _shown(path: Path, root: Path) -> str:
    resolved = path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(resolved)
