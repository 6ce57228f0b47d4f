"""Dead letters: the documents that could not be processed, and another try."""

from __future__ import annotations

from collections import Counter
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from regen.server.console.visit import Actor, Reader
from regen.server.console.work import begin

router = APIRouter()
MOST: Final = 500


@router.get("/letters")
def letters(visit: Reader) -> Response:
    """Every dead letter, and how often each reason occurs."""
    found = visit.index.dead_letters(limit=MOST)
    reasons = Counter(item.reason for item in found).most_common(8)
    return visit.page("letters.html.j2", "letters", live="pulse", letters=found, reasons=reasons, most=MOST)


@router.post("/letters/retry")
def retry(visit: Actor) -> Response:
    """Try all of them again."""
    return begin(visit, "retry")
