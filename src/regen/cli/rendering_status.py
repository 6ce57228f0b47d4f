"""Status and history as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from regen.cli.layout import bad, good, hint, labelled, listed, note, table
from regen.cli.moments import local
from regen.cli.quantities import ago, count, counted, duration, money
from regen.cli.rendering_schedule import alert_lines, percentile_words, schedule_lines, source_lines
from regen.cli.rendering_working import worker_lines
from regen.core.results import ChangeRecord, DeadLetter, Freshness, GenerationStatus, StatusReport

SHOWN_LETTERS = 20


def status_lines(report: StatusReport, now: float) -> Iterator[Text]:
    """Whether search is fresh, complete and affordable, and what to do where it is not."""
    yield _headline(report)
    yield labelled("documents", count(report.documents))
    for generation in report.generations:
        yield from _generation_lines(generation)
    yield from worker_lines(report.workers, now)
    yield from _freshness_lines(report.freshness)
    yield from source_lines(report, now)
    yield from schedule_lines(report.schedule, now)
    yield from alert_lines(report.alerts, now)
    if report.cost_usd:
        yield labelled("spent", f"{money(report.cost_usd)} so far")
    yield from _evaluation_lines(report)
    yield from letter_lines(report.dead_letters, now)
    for text in report.notes:
        yield note(text)
    yield from filter(None, map(_next_step, report.generations))


def _evaluation_lines(report: StatusReport) -> Iterator[Text]:
    """The last evaluation with its age, and what the live generation's own found wrong."""
    last = report.evaluation
    if last is not None:
        beside = "alone" if last.against is None else f"against {last.against}"
        words = last.verdict.replace("_", " ")
        when = ago(last.evaluated_at, last.evaluated_at + last.age_seconds)
        told = f"generation {last.generation} {beside}: {words}, {when}"
        yield labelled("evaluated", told)
    for alarm in report.alarms:
        yield bad(f"alarm: {alarm}")
    if report.alarms:
        yield hint("regen monitor looks again, and flags the documents involved; --reprocess embeds them anew")


def _next_step(generation: GenerationStatus) -> Text | None:
    """What to do with a generation that does not answer the searches."""
    number = generation.number
    if generation.paused is not None:
        return hint(f"generation {number} is paused: regen resume {number}, then regen apply")
    if generation.state == "building":
        return hint(f"generation {number} is unfinished: regen apply goes on; regen gc --retire {number} gives it up")
    if generation.state == "ready":
        return hint(f"generation {number} is ready: regen promote {number} lets it answer the searches")
    if generation.state == "retained":
        return hint(f"generation {number} is kept in step: regen rollback --to {number} goes back to it")
    return None


def _headline(report: StatusReport) -> Text:
    if report.live is None:
        return note(f"{report.alias}: nothing is searchable yet; run regen sync")
    behind = what_is_behind(report.freshness)
    return bad(f"{report.alias}: {behind}") if behind else good(f"{report.alias}: in step")


def what_is_behind(freshness: Freshness) -> str:
    """``12 documents behind · 1 failed``, empty when all is in step."""
    return listed([
        f"{counted(freshness.pending, 'document')} behind" if freshness.pending else "",
        f"{count(freshness.failed)} failed" if freshness.failed else "",
        f"{count(freshness.deleted_still_present)} deleted but still in the store (no search returns them)"
        if freshness.deleted_still_present
        else "",
    ])  # fmt: skip


def _generation_lines(generation: GenerationStatus) -> Iterator[Text]:
    size = f"{counted(generation.documents, 'document')} as {counted(generation.chunks, 'chunk')}"
    behind = f"{count(generation.pending)} pending" if generation.pending else ""
    failed = f"{count(generation.failed)} failed" if generation.failed else ""
    yield labelled("generation", listed([f"{generation.number} ({generation.state})", size, behind, failed]))
    if generation.paused is not None:
        yield labelled("paused", f"by {generation.paused}")
    yield labelled("", f"{generation.model} · {generation.dimensions} dimensions · space {generation.space}")


def _freshness_lines(freshness: Freshness) -> Iterator[Text]:
    if freshness.pending:
        stale = f"{count(freshness.stale)} searchable in an older revision" if freshness.stale else ""
        yield labelled("behind", listed([f"oldest change {duration(freshness.oldest_pending_seconds)} old", stale]))
        yield hint("regen sync")
    times = percentile_words(freshness.source_to_searchable_seconds)
    if times:
        yield labelled("freshness", f"from source to searchable: {times}")


def letter_lines(letters: Sequence[DeadLetter], now: float) -> Iterator[Text]:
    """The documents that could not be processed, each with its reason."""
    if not letters:
        return
    yield Text("")
    yield note(f"{counted(len(letters), 'document')} could not be processed:")
    for letter in letters[:SHOWN_LETTERS]:
        tried = f"{counted(letter.attempts, 'attempt')}, {ago(letter.failed_at, now)}"
        yield Text.assemble("    ", (letter.doc_id, "bold"), f": {letter.reason} ", (f"({tried})", "dim"))
    if len(letters) > SHOWN_LETTERS:
        yield Text(f"    … and {counted(len(letters) - SHOWN_LETTERS, 'more', 'more')}; all of them with --json")
    yield hint("repair them at the source and run regen sync; or try them again as they are: regen retry")


def history_lines(changes: Sequence[ChangeRecord], doc_id: str | None) -> Iterator[Text]:
    """The change log, newest first as given."""
    if not changes:
        yield Text("The change log is empty." if doc_id is None else f"The change log holds nothing of {doc_id!r}.")
        return
    rows = [
        (
            count(change.revision),
            local(change.changed_at),
            change.kind,
            "yes" if change.restorable else "no",
            change.doc_id,
        )
        for change in changes
    ]
    yield from table(("revision", "when", "change", "restorable", "document"), rows, right=(0,))
    restorable = next((change for change in changes if change.restorable), None)
    if doc_id is not None and restorable is not None:
        yield hint(f"regen restore {doc_id} --revision {restorable.revision}")
