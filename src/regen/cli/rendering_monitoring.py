"""A round of monitoring as lines: whether all is well, else each alarm with what it involves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from regen.evaluation.lines import counted
from regen.quality.monitoring import Watched

SHOWN: Final = 5


def watched_lines(found: Watched) -> Iterator[str]:
    """The verdict first, then an entry for each alarm, then what was done about it."""
    if not found.alarms:
        yield f"✓ generation {found.generation}: no alarm"
        return
    yield f"✗ generation {found.generation}: {counted(len(found.alarms), 'alarm')}"
    for alarm in found.alarms:
        yield f"  {alarm.subject}: {alarm.detail}"
        if alarm.documents:
            more = len(alarm.documents) - SHOWN
            yield f"    involves {', '.join(alarm.documents[:SHOWN])}{f' and {more:,} more' if more > 0 else ''}"
    if found.flagged:
        yield f"  flagged: {counted(found.flagged, 'document')}"
    if found.reprocessed is not None:
        yield f"  embedded anew: {counted(found.reprocessed.embedded_texts, 'text')}"
