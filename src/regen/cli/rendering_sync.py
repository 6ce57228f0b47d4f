"""What came of a sync or an apply, as lines: what changed, what it cost, what failed and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from regen.cli.layout import bad, good, hint, labelled, listed, note
from regen.cli.quantities import count, counted, duration, money
from regen.core.results import DeadLetter, DocumentCounts, StatusReport, SyncResult

SHOWN_LETTERS = 3


def sync_lines(result: SyncResult, letters: Sequence[DeadLetter] = ()) -> Iterator[Text]:
    """The outcome of a sync, apply, retry, restore or replay; ``letters`` are the documents that failed."""
    documents = result.documents
    if not documents.changed and not documents.failed and not result.chunks.written:
        yield good(f"Nothing changed: {counted(documents.unchanged, 'document')} in step ({duration(result.seconds)})")
    else:
        revision = listed([f"revision {count(result.revision)}", _generation(result.generation)])
        headline = f"In step at {revision}"
        missing = f"{headline}, except {counted(documents.failed, 'document')}"
        yield bad(missing) if documents.failed else good(headline)
        yield labelled("documents", document_counts(documents) or "none")
        yield labelled("chunks", chunk_counts(result) or "none")
        yield labelled("cost", sync_cost(result))
    yield from failures(documents.failed, letters)
    for text in result.notes:
        yield note(text)


def build_lines(result: SyncResult, report: StatusReport) -> Iterator[Text]:
    """The outcome of an apply that built a generation, and what is left to do."""
    built = next(item for item in report.generations if item.number == result.generation)
    size = f"{counted(built.documents, 'document')} as {counted(built.chunks, 'chunk')}"
    yield good(f"Generation {built.number} is {built.state}: {size}, at revision {count(result.revision)}")
    yield labelled("model", f"{built.model} · {built.dimensions} dimensions · space {built.space}")
    yield labelled("source", document_counts(result.documents) or "no changes")
    yield labelled("chunks", chunk_counts(result) or "none")
    yield labelled("cost", sync_cost(result))
    yield from failures(result.documents.failed, report.dead_letters)
    if built.state == "ready":
        yield labelled("searches", f"are answered by generation {report.live} until you switch")
        yield hint(f"try it: regen search TEXT --generation {built.number}; switch: regen promote {built.number}")
    else:
        for text in result.notes:
            yield note(text)


def _generation(number: int | None) -> str:
    return "" if number is None else f"generation {number}"


def document_counts(documents: DocumentCounts) -> str:
    """``12 added · 3 updated``: the kinds of change that happened."""
    kinds = (
        (documents.added, "added"),
        (documents.updated, "updated"),
        (documents.metadata_updated, "metadata updated"),
        (documents.access_updated, "access updated"),
        (documents.deleted, "deleted"),
        (documents.failed, "failed"),
        (documents.unchanged, "unchanged"),
    )
    return listed(f"{count(number)} {name}" for number, name in kinds if number)


def chunk_counts(result: SyncResult) -> str:
    """``40 written · 210 reused · 3 deleted``."""
    chunks = result.chunks
    kinds = ((chunks.written, "written"), (chunks.reused, "reused"), (chunks.deleted, "deleted"))
    return listed(f"{count(number)} {name}" for number, name in kinds if number)


def sync_cost(result: SyncResult) -> str:
    """``38 texts embedded (9,120 tokens) · $0.01 · 1.4 s``."""
    tokens = f" ({counted(result.tokens, 'token')})" if result.tokens else ""
    dollars = money(result.cost_usd) if result.cost_usd else ""
    return listed([f"{counted(result.embedded_texts, 'text')} embedded{tokens}", dollars, duration(result.seconds)])


def failures(failed: int, letters: Sequence[DeadLetter]) -> Iterator[Text]:
    """The documents that could not be processed, the first few with their reasons."""
    if not failed:
        return
    yield note("What could not be processed (what was indexed of it before stays):")
    for letter in letters[:SHOWN_LETTERS]:
        yield Text.assemble("    ", (letter.doc_id, "bold"), f": {letter.reason}")
    yield hint("all of them: regen status. When repaired: regen sync, or regen retry")


def watch_line(result: SyncResult, clock: str) -> Text:
    """One line for one round of ``sync --watch``."""
    counts = result.documents
    told = document_counts(DocumentCounts(**{
        name: getattr(counts, name)
        for name in ("added", "updated", "metadata_updated", "access_updated", "deleted", "failed")
    })) or "nothing changed"  # fmt: skip
    mark = ("✗ ", "bold red") if counts.failed else ("✓ ", "bold green")
    return Text.assemble((f"{clock}  ", "dim"), mark, listed([told, sync_cost(result)]))
