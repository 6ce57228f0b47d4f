"""The history: who pointed the alias where and why, what was done, and every change of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.index import Index
from regen.ports.service import Audited
from regen.server.console.visit import Reader

router = APIRouter()
MOST: Final = 60
MOST_ACTIONS: Final = 40
EVERY: Final = 1_000


@router.get("/history")
def history(visit: Reader, document: str = "", *, all: bool = False) -> Response:  # noqa: A002 - the address's word
    """Switches of the alias, rollouts, and the change log: of all documents or of one."""
    index, wanted, most = visit.index, document.strip(), EVERY if all else MOST
    return visit.page(
        "history.html.j2",
        "history",
        live="pulse",
        switches=index.switches(),
        rollouts=index.rollouts(20),
        audited=audited(index),
        changes=index.history(wanted or None, most),
        wanted=wanted,
        most=most,
    )


def audited(index: Index) -> list[tuple[Audited, str]]:
    """The newest actions of operators, each with its details in a line."""
    return [(item, _details(item.details)) for item in index.audited(MOST_ACTIONS)]


def _details(given: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in given.items() if value is not None and value is not False and value != ""}
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in shown.items())
