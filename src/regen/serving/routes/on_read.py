"""What is read is what is migrated: answered as ``rolling`` does, and placed in the background by whoever can write."""

from __future__ import annotations

from dataclasses import replace

from regen.core.results import SearchResult
from regen.serving.routes.context import Answered, Serving
from regen.serving.routes.rolling import rolling


def on_read(serving: Serving) -> Answered | None:
    """The merged list now; of what users are shown the documents that only the old generation holds are asked for.

    Nobody waits for them. In a process that only reads they stay where they are.
    """
    answered = rolling(serving)
    place = serving.reader.place
    if answered is None or place is None:
        return answered

    def ask_for(shown: SearchResult) -> None:
        old = [hit.doc_id for hit in shown.hits if hit.generation == serving.live.number]
        place(serving.candidate.number, list(dict.fromkeys(old)))

    return replace(answered, then=ask_for)
