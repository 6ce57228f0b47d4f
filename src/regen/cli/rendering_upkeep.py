"""Doctor, verify, gc and init as lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from regen.cli.layout import bad, good, hint, labelled, listed
from regen.cli.quantities import count, counted, duration
from regen.config.template import Detected
from regen.core.results import AdoptResult, DoctorReport, Finding, GcReport, VerifyReport


def doctor_lines(report: DoctorReport) -> Iterator[Text]:
    """One line a check; a failed one with what to do."""
    width = max((len(finding.name) for finding in report.findings), default=0)
    for finding in report.findings:
        yield _finding_line(finding, width)
        if finding.hint and not finding.passed:
            yield hint(finding.hint)
    failed = sum(not finding.passed for finding in report.findings)
    yield Text("")
    yield good("All is well; nothing was changed.") if not failed else bad(f"{counted(failed, 'check')} failed.")


def _finding_line(finding: Finding, width: int) -> Text:
    mark = ("✓ ", "bold green") if finding.passed else ("✗ ", "bold red")
    took = f"  ({duration(finding.seconds)})" if finding.seconds >= 0.1 else ""
    return Text.assemble(mark, (finding.name.ljust(width), "bold"), f"  {finding.detail}", (took, "dim"))


def verify_lines(report: VerifyReport) -> Iterator[Text]:
    """What differs between catalog and store."""
    looked = report.generations or ([] if report.generation is None else [report.generation])
    numbers = f"generation{'s' if len(looked) > 1 else ''} {', '.join(str(number) for number in looked)}"
    where = listed([f"{counted(report.points, 'point')} checked", numbers if looked else ""])
    if report.consistent:
        repaired = f" after {counted(report.repaired, 'repair')}" if report.repaired else ""
        yield good(f"Consistent{repaired}: {where}")
    else:
        yield bad(f"Not consistent: {where}")
    for number, label, meaning in (
        (report.missing, "missing", "named by the catalog, not in the store"),
        (report.orphans, "orphans", "in the store, named by nothing; searches never return them"),
        (report.stale, "stale", "documents behind the change log"),
        (report.mixed_space, "mixed", "of another space"),
        (report.wrong_payload, "payload", "with metadata, access or a document that the catalog does not confirm"),
    ):
        if number:
            yield labelled(label, f"{count(number)} {meaning}")
    for number in report.out_of_reach:
        yield labelled("unknown", f"generation {number}: its store cannot be asked")
    for detail in report.details:
        yield labelled("", detail)
    if not report.consistent:
        yield hint("regen verify --repair")


def gc_lines(report: GcReport) -> Iterator[Text]:
    """What was removed, and what upkeep was done."""
    removed = (
        (report.points, "point"),
        (report.contents, "text"),
        (report.changes, "change"),
        (report.tombstones, "tombstone"),
    )
    told = listed(counted(number, name) for number, name in removed if number)
    yield good(f"Removed {told}" if told else "Nothing to remove" if not report.retired else "Done")
    for number in report.retired:
        yield labelled("retired", f"generation {number}: its collection is gone, there is no way back to it")
    for phrase in report.maintenance:
        yield labelled("upkeep", phrase)
    for note in report.notes:
        yield labelled("note", note)


def adopt_lines(result: AdoptResult, *, written: Path | None = None) -> Iterator[Text]:
    """What was taken over, and what its vectors were compared with; ``written`` is a configuration made for it."""
    size = f"{counted(result.documents, 'document')} as {counted(result.chunks, 'chunk')}"
    yield good(f"Generation {result.generation} is live: {size} taken over ({duration(result.seconds)})")
    yield labelled("from", f"{result.collection} in {result.store}; it was only read")
    if written is not None:
        yield labelled("wrote", f"{written}: new and changed documents are pushed, or name a source there")
    yield labelled("space", result.space)
    yield labelled(
        "compared", f"{counted(result.checked, 'vector')} with the model's own: cosine {result.agreement:.4f}"
    )
    yield labelled("embedded", f"{counted(result.embedded_texts, 'text')} but for that comparison")
    if result.skipped:
        yield labelled("skipped", f"{counted(result.skipped, 'row')} without text or with an unusable vector")
    for note in result.notes:
        yield labelled("note", note)
    yield hint('regen search "a question"')


def init_lines(written: Path, detected: Detected) -> Iterator[Text]:
    """What was written, and what comes next."""
    found = f" ({counted(detected.documents, 'document')} seen)" if detected.documents else ""
    yield good(f"Wrote {written}")
    yield labelled("source", f"{detected.kind}: {listed([detected.path, ', '.join(detected.glob)])}{found}")
    yield labelled("alias", detected.alias)
    yield hint('regen sync, then regen search "a question"')
