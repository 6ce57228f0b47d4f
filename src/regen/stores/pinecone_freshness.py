"""Waiting until Pinecone shows what it has taken: it acknowledges a write before readers see it.

A write is answered with its number in the namespace's log (LSN), a query with the number up to which it has seen the
log. Fetching and listing say no number and may lag on their own, so some of what was written is read back through them.
A record carries the time of its writing, by which a stale copy of what was there before is told from a fresh one. Of
two writers of the same record the earlier one may have come last, so for that no more than a moment is waited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pinecone import Index
from pinecone.models.response_info import ResponseInfo

from regen.errors import StoreUnreachable
from regen.stores.pinecone_layout import WRITE

_SAMPLE: Final = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0
_MOMENT: Final = 1.0


def new_stamp() -> str:
    """The time of a write, such that later ones are greater."""
    return f"{time.time_ns():020d}"


@dataclass(frozen=True, slots=True)
class Write:
    """What must be seen: up to which number, and which ids with a stamp not older than this, or, without one, no more.

    ``lsn`` is None when Pinecone did not say it.
    """

    namespace: str
    dimensions: int
    ids: Sequence[str]
    lsn: int | None
    stamp: str | None = None


def wait_until_seen(index: Index, write: Write, seconds: float) -> None:
    """Return when readers see a write. Raises StoreUnreachable when they do not in time."""
    ids = _sample(write.ids)
    if not ids:
        return
    fresh = partial(_fresh, index, write, ids)
    for look in (partial(_queried, index, write), partial(_listed, index, write, ids[-1])):
        _require(write, look, seconds)
    if not fresh():
        _require(write, partial(_fetched, index, write, ids), seconds)
        _seen(fresh, min(_MOMENT, seconds))


def _require(write: Write, look: Callable[[], bool], seconds: float) -> None:
    if not _seen(look, seconds):
        raise StoreUnreachable(
            f"Pinecone has taken a write to {write.namespace!r} but did not show it in {seconds:g} seconds",
            hint="nothing acknowledged is lost; run again, or raise ?timeout= in store.url",
        )


def _seen(look: Callable[[], bool], seconds: float) -> bool:
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(1.6 * pause, _LONGEST_PAUSE)
    return True


def lsn_of(headers: Any) -> int | None:
    """The number of the write that was answered with these headers."""
    return ResponseInfo(raw_headers=dict(headers)).lsn_committed


def _queried(index: Index, write: Write) -> bool:
    if write.lsn is None:
        return True
    unit = [1.0] + [0.0] * (write.dimensions - 1)
    found = index.query(vector=unit, top_k=1, namespace=write.namespace, include_values=False, include_metadata=False)
    seen = found.response_info
    return seen is not None and (seen.lsn_reconciled is None or seen.is_reconciled(write.lsn))


def _fetched(index: Index, write: Write, ids: Sequence[str]) -> bool:
    return len(_read(index, write, ids)) == (0 if write.stamp is None else len(ids))


def _fresh(index: Index, write: Write, ids: Sequence[str]) -> bool:
    found = _read(index, write, ids)
    if write.stamp is None:
        return not found
    return len(found) == len(ids) and all((one.metadata or {}).get(WRITE, "") >= write.stamp for one in found)


def _read(index: Index, write: Write, ids: Sequence[str]) -> list[Any]:
    return list(index.fetch(ids=list(ids), namespace=write.namespace).vectors.values())


def _listed(index: Index, write: Write, one: str) -> bool:
    page = index.list_paginated(prefix=one, limit=1, namespace=write.namespace)
    return any(item.id == one for item in page.vectors) == (write.stamp is not None)


def _sample(ids: Sequence[str]) -> list[str]:
    step = max(1, (len(ids) - 1) // (_SAMPLE - 1)) if len(ids) > 1 else 1
    return list(dict.fromkeys([*ids[::step], *ids[-1:]]))
