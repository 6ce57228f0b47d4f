"""Whether the generation holds every document, and the store every chunk that the catalog names."""

from __future__ import annotations

from regen.evaluation.outcome import CheckResult
from regen.quality.checks.context import Context


def coverage(context: Context) -> CheckResult:
    """Every living document is placed or a dead letter, and the store holds at least the chunks that are named."""
    subject, catalog = context.candidate, context.catalog
    counts = catalog.counts(subject.number)
    stored = subject.store.count(subject.generation.collection)
    told = f"{counts.documents:,} of {catalog.alive():,} documents, {counts.chunks:,} chunks, {stored:,} points"
    if counts.pending:
        return CheckResult(
            "coverage",
            passed=False,
            detail=f"{counts.pending:,} documents are not placed yet ({told})",
            hint="`regen apply` goes on with a build, `regen sync` with a generation that is complete",
        )
    if stored < counts.chunks:
        return CheckResult(
            "coverage",
            passed=False,
            detail=f"the store lacks {counts.chunks - stored:,} of the chunks ({told})",
            hint="`regen verify --repair` writes them anew",
        )
    return CheckResult("coverage", passed=True, detail=told)
