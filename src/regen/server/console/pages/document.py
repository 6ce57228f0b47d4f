"""One document: what is known of it now, and everything that happened to it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from regen.errors import ConfigError, NotFound
from regen.ports.catalog import PastState
from regen.server.console.visit import Actor, Reader

router = APIRouter()
MOST_CHANGES: Final = 200
MOST_TEXT: Final = 20_000


@router.get("/document")
def document(visit: Reader, id: str = "", revision: int | None = None) -> Response:  # noqa: A002 - the address's word
    """A document by its id, as it was at a revision (default: the newest that is kept)."""
    if not id:
        raise ConfigError("no document is named", hint="open one from a search or the history")
    changes = visit.index.history(id, MOST_CHANGES)
    letters = visit.index.dead_letters(doc_id=id)
    if not changes and not letters:
        raise NotFound(f"nothing is known of a document {id[:200]!r}", hint="ids are as the source gives them")
    wanted = revision if revision is not None else next((item.revision for item in changes if item.restorable), None)
    past = None if wanted is None else _past(visit, id, wanted)
    return visit.page(
        "document.html.j2",
        "history",
        id=id,
        changes=changes,
        letters=letters,
        past=past,
        revision=wanted,
        text=lines(past),
        cut=past is not None and past.text is not None and len(past.text) > MOST_TEXT,
        metadata=metadata(past),
    )


def _past(visit: Reader, doc_id: str, revision: int) -> PastState | None:
    try:
        return visit.index.past(doc_id, revision)
    except NotFound:
        return None


def lines(past: PastState | None) -> list[str]:
    """The text's lines, as many as are shown."""
    return [] if past is None or past.text is None else past.text[:MOST_TEXT].split("\n")


def metadata(past: PastState | None) -> list[tuple[str, Any]]:
    """Metadata as key and value, strings as they are, all else as JSON."""
    found = {} if past is None else past.metadata
    return [(key, value if isinstance(value, str) else orjson.dumps(value).decode()) for key, value in found.items()]


@router.post("/document/restore")
def restore(visit: Actor) -> Response:
    """Bring a document back as it was."""
    doc_id, typed = visit.form.get("id", ""), visit.form.get("revision", "")
    if not typed.isdigit():
        raise ConfigError(f"{typed[:40]!r} is no revision", hint="choose one from the document's history")
    with visit.operating("restore", document=doc_id, revision=int(typed)):
        result = visit.index.restore(doc_id, int(typed))
    told = f"{doc_id[:200]} is as it was at revision {typed} again ({result.seconds:.1f} s)."
    return visit.leave(f"/console/document?id={quote(doc_id)}", told)
