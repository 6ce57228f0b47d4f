"""How fresh search must be, and whether it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from regen.core.refresh import Policy

NAMES: Final = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds; None before anything was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Seconds that a change at the source may take until it is searchable, at these percentiles; None: no matter.

    ``window`` is how far back is measured, in seconds.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    window: float = 3_600.0

    @property
    def bounds(self) -> dict[str, float]:
        """The percentiles that matter, with their seconds."""
        found = {name: getattr(self, name) for name in NAMES}
        return {name: seconds for name, seconds in found.items() if seconds is not None}


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How fresh search is in one source.

    ``source_to_searchable_seconds`` is measured over the target's window, an hour without one. ``met`` is None without
    a target, or before anything was measured; ``missed`` says what is not met. Everything that was changed at the
    source before ``searchable_until``, in seconds since the epoch, is searchable; None before its first scan.
    """

    name: str
    documents: int
    pending: int
    oldest_pending_seconds: float
    source_to_searchable_seconds: Percentiles
    searchable_until: float | None
    target: dict[str, float] | None = None
    met: bool | None = None
    missed: str = ""


def missed(target: Target, measured: Percentiles, oldest_pending: float) -> str:
    """What of a target is not met, empty if it is.

    What waits counts, too: a change that has waited for longer than every percentile allows is late already.
    """
    told = []
    for name, allowed in target.bounds.items():
        took = getattr(measured, name)
        if took is not None and took > allowed:
            told.append(f"{name} is {took:.3g} s, and may be {allowed:g} s")
    slowest = max(target.bounds.values(), default=0.0)
    if oldest_pending > slowest:
        told.append(f"a change has been waiting for {oldest_pending:.3g} s, and may for {slowest:g} s")
    return "; ".join(told)


def impossible(target: Target, policy: Policy, *, followed: bool) -> Iterator[str]:
    """Why a policy cannot meet a target, whatever the machine does. ``followed``: the source tells of its changes."""
    for name, allowed in target.bounds.items():
        if followed and policy.quiet_for > allowed:
            yield f"freshness.{name} is {allowed:g} s, but a change waits for {policy.quiet_for:g} s of quiet"
    slowest = max(target.bounds.values(), default=0.0)
    if policy.at_most_every > slowest > 0:
        yield f"a change may take {slowest:g} s, but the source is refreshed at most every {policy.at_most_every:g} s"
