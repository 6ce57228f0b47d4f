"""The fence: every hit passes it before a search returns it. Pure; its facts are one catalog statement's answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from regen.core.chunks import names, write_token
from regen.core.documents import Principal, Unrestricted, may_see
from regen.core.filters import Filter, matches
from regen.ports import StoreHit
from regen.ports.placements import FenceEntry


class Fenced:
    """Hits that passed, with the catalog's facts about their documents, and why others did not."""

    __slots__ = ("dropped", "passed")

    def __init__(self) -> None:
        self.passed: list[tuple[StoreHit, FenceEntry, dict[str, Any]]] = []
        self.dropped: Counter[str] = Counter()


def fence(
    hits: Sequence[StoreHit],
    facts: Mapping[str, FenceEntry],
    where: Filter,
    principals: frozenset[Principal] | Unrestricted,
) -> Fenced:
    """Let through what the current placement names, is alive, may be seen and satisfies the filter (I2, I3).

    Each point passes once: a weak store may hold two of one id until ``verify --repair``.
    """
    result = Fenced()
    seen: set[str] = set()
    judged: dict[str, tuple[str | None, dict[str, Any]]] = {}
    for hit in hits:
        if hit.point_id in seen:
            result.dropped["doubled"] += 1
            continue
        seen.add(hit.point_id)
        entry = facts.get(hit.doc_id)
        if entry is None or not names(entry.chunks, bytes.fromhex(hit.chunk_id) + write_token(hit.token)):
            result.dropped["superseded"] += 1
            continue
        if hit.doc_id not in judged:
            judged[hit.doc_id] = _judge(entry, where, principals)
        reason, metadata = judged[hit.doc_id]
        if reason is None:
            result.passed.append((hit, entry, metadata))
        else:
            result.dropped[reason] += 1
    return result


def _judge(
    entry: FenceEntry, where: Filter, principals: frozenset[Principal] | Unrestricted
) -> tuple[str | None, dict[str, Any]]:
    if entry.deleted:
        return "deleted", {}
    if entry.access is not None and not may_see(orjson.loads(entry.access), principals):
        return "access", {}
    metadata: dict[str, Any] = orjson.loads(entry.metadata)
    return (None, metadata) if matches(where, metadata) else ("filter", metadata)
