"""Whether the generation holds every document, and the store exactly the chunks that the catalog names."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from regen.evaluation.outcome import CheckResult
from regen.ports.freshness import GenerationCounts
from regen.quality.checks.context import Context
from regen.quality.checks.held import held
from regen.quality.checks.telling import examples, failed, passed
from regen.quality.subject import Subject

NAME = "coverage"
PATIENCE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Account:
    """What catalog and store say at one moment. ``beside`` are points that may be there though nothing names them."""

    counts: GenerationCounts
    stored: int
    beside: int

    @property
    def balanced(self) -> bool:
        return self.counts.chunks <= self.stored <= self.counts.chunks + self.beside

    def balances_with(self, later: _Account) -> bool:
        """Whether what was written between two moments explains the difference."""
        lowest = min(self.counts.chunks, later.counts.chunks)
        highest = max(self.counts.chunks, later.counts.chunks) + max(self.beside, later.beside)
        return lowest <= later.stored <= highest


def coverage(context: Context) -> CheckResult:
    """Every living document is placed or a dead letter, and the store holds the named chunks and nothing else.

    Points that wait to be deleted, and those that a write has announced, may or may not be there.
    """
    subject = context.candidate
    account = _account(context, subject)
    counts = account.counts
    told = (
        f"{counts.documents:,} of {context.catalog.alive():,} documents, {counts.chunks:,} chunks, "
        f"{account.stored:,} points"
    )
    if counts.pending and not _is_on_its_way(context, counts) and _stays_behind(context, counts):
        return failed(
            NAME,
            [f"{counts.pending:,} documents are not placed as the change log has them ({told})"],
            "`regen apply` goes on with a build, `regen sync` with a generation that is complete",
        )
    if not account.balanced and not account.balances_with(later := _account(context, subject)):
        return _unbalanced(later, told)
    lost = _lost(context, subject)
    if lost:
        return failed(
            NAME,
            [f"the store lacks chunks of {examples(lost)} documents ({told})"],
            "`regen verify --repair` writes them anew",
            lost,
        )
    if gone := _buried_since(context):
        return failed(
            NAME,
            [f"documents that readers find today would be lost: {examples(gone)} could not be processed"],
            "`regen status` tells why; `regen retry` tries again",
            gone,
        )
    return passed(NAME, told + _remarks(context, subject, counts))


def _account(context: Context, subject: Subject) -> _Account:
    unnamed = context.catalog.unnamed(subject.number)
    counts = context.catalog.counts(subject.number)
    stored = subject.store.count(subject.generation.collection)
    return _Account(counts, stored, unnamed.garbage + unnamed.intended)


def _is_on_its_way(context: Context, counts: GenerationCounts) -> bool:
    """Whether what waits is only what a writer at work has not come to yet. A build is never taken for that."""
    if context.candidate.generation.state == "building" or counts.oldest_pending_at is None:
        return False
    return time.time() - counts.oldest_pending_at <= context.lag and context.is_followed()


def _stays_behind(context: Context, counts: GenerationCounts) -> bool:
    """Whether what waits still waits a moment later, with nobody at it.

    A writer logs before it takes its lease, and may have ended between our look at what waits and that at the leases.
    """
    if context.candidate.generation.state == "building":
        return True
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(PATIENCE_SECONDS / 20)
        later = context.catalog.counts(context.candidate.number)
        if later.oldest_pending_at != counts.oldest_pending_at or _is_on_its_way(context, later):
            return False
    return True


def _unbalanced(account: _Account, told: str) -> CheckResult:
    lacking = account.counts.chunks - account.stored
    if lacking > 0:
        problem = f"the store lacks {lacking:,} of the chunks ({told})"
        return failed(NAME, [problem], "`regen verify --repair` writes them anew")
    problem = f"the store holds {-lacking - account.beside:,} points that nothing names ({told})"
    return failed(NAME, [problem], "`regen gc` removes what nothing names; no search returns it meanwhile")


def _lost(context: Context, subject: Subject) -> list[str]:
    """Documents of a sample of which the store lacks a point."""
    ids = [item.doc_id for item in context.catalog.sampled(context.sample, seed=context.seed)]
    suspects = [doc_id for doc_id, found in held(subject, ids).items() if found.missing]
    # Seen twice: the first look at a placement that was just being replaced found points that were just deleted.
    return [doc_id for doc_id, found in held(subject, suspects).items() if found.missing]


def _buried_since(context: Context) -> list[str]:
    """Dead letters of the candidate that the live generation has text of."""
    if context.baseline is None:
        return []
    new = sorted(
        set(context.catalog.buried(context.candidate.number)) - set(context.catalog.buried(context.baseline.number))
    )
    placed = context.catalog.placed(context.baseline.number, new) if new else {}
    return [doc_id for doc_id in new if doc_id in placed and placed[doc_id].chunks]


def _remarks(context: Context, subject: Subject, counts: GenerationCounts) -> str:
    """What is no fault and yet worth knowing."""
    remarks = []
    buried = context.catalog.buried(subject.number)
    if buried:
        remarks.append(f"dead letters: {examples(sorted(buried))}")
    if counts.pending:
        remarks.append(f"{counts.pending:,} documents are being placed")
    lag = context.catalog.head() - _watermark(context, subject)
    if lag > 0:
        remarks.append(f"{lag:,} changes behind the log's end")
    return "".join(f"; {remark}" for remark in remarks)


def _watermark(context: Context, subject: Subject) -> int:
    found = [item.watermark for item in context.catalog.generations() if item.number == subject.number]
    return found[0] if found else subject.generation.watermark
