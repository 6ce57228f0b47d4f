"""Alarms as they come and go: what is new, what is over, and what somebody is still to be told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias, get_args

from regen.core.refresh import backoff

Kind: TypeAlias = Literal["floor", "check", "freshness", "job"]
"""A measure below its floor, a failed check, a missed target, a job that fails."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alarm since ``fired_at``, over since ``resolved_at``, and what of that somebody was told.

    ``key`` is its identity. ``told`` is empty, or ``fired``. ``attempts`` to tell have failed since, the last at
    ``tried_at``.
    """

    key: str
    kind: str
    detail: str
    fired_at: float
    resolved_at: float | None = None
    told: str = ""
    attempts: int = 0
    tried_at: float | None = None
    error: str = ""
    documents: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is wrong now. ``documents`` are those that it involves, worst first."""

    key: str
    kind: Kind
    detail: str
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """What is to be kept of alarms, and which are to be forgotten."""

    keep: tuple[Alert, ...] = ()
    forget: tuple[str, ...] = ()


def compared(known: Sequence[Alert], found: Sequence[Found], looked_at: Callable[[Alert], bool], now: float) -> Changed:
    """What changes with what was found, of the alarms that were looked at; others stay as they are.

    One that is on already is no news. One that is over and that nobody had heard of is forgotten; one that comes back
    before its end was told goes on, as if it had never been away.
    """
    before = {alert.key: alert for alert in known}
    keep = [alert for item in found if (alert := _seen(before.get(item.key), item, now)) != before.get(item.key)]
    wrong = {item.key for item in found}
    over = [alert for alert in known if looked_at(alert) and alert.key not in wrong and alert.resolved_at is None]
    ended = [replace(alert, resolved_at=now, attempts=0, tried_at=None, error="") for alert in over if alert.told]
    return Changed((*keep, *ended), tuple(alert.key for alert in over if not alert.told))


def _seen(alert: Alert | None, found: Found, now: float) -> Alert:
    if alert is None:
        return Alert(found.key, found.kind, found.detail, now, documents=found.documents)
    again = replace(alert, detail=found.detail, documents=found.documents)
    return again if alert.resolved_at is None else replace(again, resolved_at=None, attempts=0, tried_at=None, error="")


def untold(known: Sequence[Alert], now: float) -> Iterator[Alert]:
    """What is to be told now: alarms that nobody has heard of, and ends; later each time after a failure."""
    for alert in known:
        if alert.told and alert.resolved_at is None:
            continue
        tried = alert.tried_at
        if tried is None or tried > now or tried + backoff(max(1, alert.attempts)) <= now:
            yield alert
