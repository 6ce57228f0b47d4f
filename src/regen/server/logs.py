"""Logs: one JSON object a line, with the request's, the run's and the trace's id, and without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TypeAlias

import structlog

from regen.config.secrets import mask_credentials
from regen.server.tracing import trace_id

LogFormat: TypeAlias = Literal["json", "text"]
_KEY: Final = re.compile(r"\bregen_([0-9a-f]{12})_[A-Za-z0-9_\-]+")
_TOKEN: Final = re.compile(r"\beyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*\.?[A-Za-z0-9_\-]*")


def add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The trace that a line belongs to."""
    found = trace_id()
    if found is not None:
        event["trace_id"] = found
    return event


def without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line whose texts hold no password, key or token."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _TOKEN.sub("***", _KEY.sub(r"regen_\1_***", mask_credentials(value)))
    return event


def _plain(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line without what the formatter keeps for itself."""
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


_SHARED: Final[tuple[Any, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    add_trace,
    structlog.processors.format_exc_info,
    without_secrets,
)
LOG: Final[structlog.stdlib.BoundLogger] = structlog.wrap_logger(
    logging.getLogger("regen.server"),
    processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
"""What the server tells. Where nobody has configured logging, that is nothing but warnings."""


def configure(form: LogFormat) -> None:
    """Send this process's logs to standard error: our own, and warnings of the libraries."""
    colours = sys.stderr.isatty()
    render: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=colours)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_plain, render], foreign_pre_chain=_SHARED))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("regen.server").setLevel(logging.INFO)
