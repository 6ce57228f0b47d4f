"""Whether stored vectors are those that the model gives for their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from regen.core.results import Hit
from regen.errors import DocumentError
from regen.ports import Vector
from regen.quality.checks.held import Held
from regen.quality.subject import Subject
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize

ALIKE: Final = 0.9
"""Cosine below which a vector is another text's: other hardware and lower precision stay above 0.98."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One stored vector with the chunk text and the metadata that it is said to be of."""

    doc_id: str
    text: str
    metadata: dict[str, Any]
    vector: Vector


def compared(hits: Sequence[Hit], points: Held, row: int) -> list[Compared]:
    """The vector of one chunk with what a search returned of that chunk; nothing if it returned nothing of it."""
    return [
        Compared(hit.doc_id, hit.text, hit.metadata, points.vectors[row])
        for hit in hits
        if hit.chunk_id == points.chunks[row]
    ]


def mistaken(subject: Subject, items: Sequence[Compared]) -> list[str]:
    """The documents whose vector is not the one that the model gives for its text. One call to the model."""
    recipe = subject.generation.recipe
    embedded, kept = [], []
    for item in items:
        try:
            values = recipe.text.values(item.metadata)
        except DocumentError:  # the metadata has lost a key of the template: the document waits as a dead letter
            continue
        embedded.append(recipe.embedding.document_prefix + recipe.text.render(item.text, values))
        kept.append(item)
    if not kept:
        return []
    fresh = np.asarray(subject.embedder.embed_documents(embedded), dtype=np.float32)
    if recipe.embedding.normalize:
        fresh = normalize(fresh)
    fresh = quantize(fresh, recipe.embedding.precision)
    stored = np.stack([item.vector for item in kept])
    cosines = (normalize(fresh) * normalize(stored)).sum(axis=1)
    return [item.doc_id for item, cosine in zip(kept, cosines, strict=True) if not cosine >= ALIKE]
