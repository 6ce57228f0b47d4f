"""Settings: what the index is set up with, and which keys open it. To look at only: regen.yaml decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.evaluation.wording import dollars
from regen.server.console import words
from regen.server.console.visit import Reader

router = APIRouter()
TIMES: Final = frozenset({"retain", "retain_seconds", "keep_changes", "lease_wait", "recent_seconds"})
BYTES: Final = frozenset({"max_document_bytes", "batch_bytes"})


@router.get("/settings")
def settings(visit: Reader) -> Response:
    """Recipe, gate, migration, limits, store; and the configured reranker."""
    found = visit.index.configuration()
    blocks = [
        ("Recipe that regen.yaml asks for", list(_rows(found["recipe"]))),
        ("Migration", list(_rows(found["migration"]))),
        ("Limits", list(_rows(found["limits"]))),
    ]
    return visit.page(
        "settings.html.j2",
        "settings",
        blocks=blocks,
        store=found["store"] or "handed in as an object",
        gate=found["gate"],
        collections=found["collections"],
        measures=found["measures"],
        reranking=visit.index.rerank_stats(),
        keys=visit.index.api_keys() if visit.caller is not None and visit.caller.may("admin") else None,
    )


def _rows(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in block.items():
        label = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _rows(value, f"{label}.")
        elif is_dataclass(value) and not isinstance(value, type):
            yield from _rows({item.name: getattr(value, item.name) for item in fields(value)}, f"{label}.")
        else:
            yield label, _told(name, value)


def _told(name: str, value: Any) -> str:
    if value is None:
        return "no limit" if name not in {"pilot", "throttle", "drain"} else "none"
    if name in TIMES:
        return words.duration(float(value))
    if name in BYTES:
        return f"{value / 1e6:,.1f} MB"
    if name.endswith("_usd"):
        return dollars(float(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return words.on_one_line(str(value)) if value != "" else "–"
