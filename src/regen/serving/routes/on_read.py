"""What is read is what is migrated: answered as ``rolling`` does, and placed in the background by whoever can write."""

from __future__ import annotations

from regen.serving.routes.context import Answered, Serving
from regen.serving.routes.rolling import rolling


def on_read(serving: Serving) -> Answered | None:
    """The merged list now; the documents in it that only the old generation holds are asked for.

    Nobody waits for them. In a process that only reads they stay where they are.
    """
    answered = rolling(serving)
    place = serving.reader.place
    if answered is not None and place is not None:
        old = [hit.doc_id for hit in answered.result.hits if hit.generation == serving.live.number]
        place(serving.candidate.number, list(dict.fromkeys(old)))
    return answered
