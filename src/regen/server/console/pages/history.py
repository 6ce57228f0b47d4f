"""The history: who pointed the alias where and why, what was done, and every change of a document."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.server.console.visit import Reader

router = APIRouter()
MOST: Final = 60
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
        changes=index.history(wanted or None, most),
        wanted=wanted,
        most=most,
    )
