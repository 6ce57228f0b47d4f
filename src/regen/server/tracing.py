"""OpenTelemetry spans: of runs, and of the stages of a search. Without an SDK configured they cost next to nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import propagate, trace

from regen.core.results import SearchResult

TRACER: Final = trace.get_tracer("regen")
_STAGES: Final = ("embed", "store", "fence")


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[trace.Span]:
    """A span around a block."""
    with TRACER.start_as_current_span(name, attributes=_named(attributes)) as made:
        yield made


@contextmanager
def continued(headers: dict[str, str], name: str, **attributes: Any) -> Iterator[trace.Span]:
    """A span of a request, which goes on with the trace that its caller has begun."""
    with TRACER.start_as_current_span(
        name, propagate.extract(headers), kind=trace.SpanKind.SERVER, attributes=_named(attributes)
    ) as made:
        yield made


def trace_id() -> str | None:
    """The id of the trace under way, None outside of any."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def stages(result: SearchResult) -> dict[str, float]:
    """Milliseconds of each stage of a search."""
    told = result.explanation
    found = {stage: getattr(told, f"{stage}_ms") for stage in _STAGES}
    return found if told.rerank is None else {**found, "rerank": told.rerank.milliseconds}


def note_stages(result: SearchResult) -> None:
    """Add a span for each stage of a search that has just ended, below the current one.

    They are laid end to end before now: the stages take turns, and the store and the fence may have had several each.
    """
    if not trace.get_current_span().is_recording():
        return
    found = stages(result)
    at = time.time_ns() - round(sum(found.values()) * 1e6)
    for stage, milliseconds in found.items():
        made = TRACER.start_span(f"regen.search.{stage}", start_time=at)
        at += round(milliseconds * 1e6)
        made.end(at)


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"regen.{name}": value for name, value in attributes.items() if value is not None}
