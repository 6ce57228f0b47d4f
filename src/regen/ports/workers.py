"""Who may write: leases, ranges of a generation's documents as leases that several processes share, who is at work.

A range is a lock and never information: what is left to do is always read from the documents' placements. So a range
may be forgotten at any time, its holder only loses the right to commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from regen.ports.placements import Lease, Range


@dataclass(frozen=True, slots=True)
class Laid:
    """How a generation is shared out at present. ``behind``: some document up to ``head`` is not in step."""

    free: int
    held: int
    watermark: int
    head: int

    @property
    def behind(self) -> bool:
        """Whether anything is left to do, or being done."""
        return self.watermark < self.head or bool(self.free or self.held)


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One worker's heart-beat. ``documents`` is how many it has brought in step; ``failure`` why it waits."""

    owner: str
    alias: str
    host: str
    pid: int
    since: float
    seen_at: float
    documents: int = 0
    generation: int | None = None
    failure: str | None = None


class WorkerReader(Protocol):
    """The questions."""

    def holder(self, name: str) -> Lease | None:
        """Who holds a lease, expired or not."""
        ...

    def leases(self) -> list[Lease]:
        """All leases, expired ones included, by name."""
        ...

    def ranges(self, generation: int) -> list[Range]:
        """The ranges of a generation, expired and free ones (whose owner is "") included, by revision."""
        ...

    def workers(self, alias: str) -> list[WorkerRecord]:
        """Who works, or did when last seen, the longest first."""
        ...

    def clock(self) -> float:
        """The time as the catalog's server has it: what the hosts of workers are compared with."""
        ...


class WorkerWriter(Protocol):
    """The writes."""

    def acquire(self, name: str, owner: str, *, at: float, seconds: float, dead: str | None = None) -> Lease:
        """Take a lease that is free, expired or already ours, or that ``dead``, an owner known to be dead, holds.

        Raises CatalogBusy, naming the owner.
        """
        ...

    def renew(self, lease: Lease, *, at: float, seconds: float) -> Lease:
        """Extend our lease. Raises LeaseLost."""
        ...

    def release(self, lease: Lease) -> None:
        """Give a lease back; does nothing if it is not ours any more."""
        ...

    def lay_out(self, generation: int, whole: str, *, size: int, count: int, upto: int | None = None) -> Laid:
        """Cut what is behind, and lies in no range yet, into ranges of ``size`` documents, until ``count`` are free.

        With ``upto`` only what was logged up to that revision.

        First the generation's watermark is raised as far as nothing is behind or in a range: also what was marked
        anew below it, or left out by a range's holder, is found. ``whole`` is the name of the lease on all of it.
        """
        ...

    def claim_range(
        self, generation: int, whole: str, owner: str, *, at: float, seconds: float, dead: Sequence[str] = ()
    ) -> Range | None:
        """Take the first range that is free, expired, or of an owner known to be dead; None when there is none.

        None too while somebody holds ``whole``, or waits for it.
        """
        ...

    def clear_ranges(self, generation: int, lease: Lease, *, at: float, dead: Sequence[str] = ()) -> list[Range]:
        """Forget the ranges that are free, expired or of the dead; those that are left, whose holders must finish.

        For who has taken the lease on the whole generation. Raises LeaseLost.
        """
        ...

    def reserve_texts(self, held: Range, text_keys: Sequence[int], *, at: float, dead: Sequence[str] = ()) -> set[int]:
        """Take the right to embed these texts for the generation; those that another range's holder has (I4).

        What a commit places is free again, and what the holder of a range had that ended, expired, or is of an owner
        known to be dead: all who live may be waiting for such texts, and nobody left to take its range over.
        Raises LeaseLost.
        """
        ...

    def free_texts(self, held: Range, text_keys: Sequence[int] | None = None) -> None:
        """Give the right back, to these or (None) to all that the range's holder has reserved."""
        ...

    def ask(self, generation: int, *, at: float | None) -> None:
        """Let workers fill a generation that is being built, or (None) no longer. Raises NotFound."""
        ...

    def beat(self, worker: WorkerRecord) -> float:
        """Tell that a worker is alive, and what it has done; the catalog's clock."""
        ...

    def leave(self, owner: str) -> None:
        """Forget a worker. What leases it holds yet, as one whose claim it never learnt of, are given back."""
        ...
