"""Boundaries by meaning: between sentences, the stronger the less alike the text on both sides is.

Only the sentences next to a boundary have a say, so an edit moves nothing far away. Paragraphs and headings have no
rank of their own here: whoever wants structure takes another kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.core.boundaries import SENTENCE, Counted, Cuts, Tier
from regen.core.prose import sentence_cuts
from regen.errors import EmbedderContract

EmbedTexts: TypeAlias = Callable[[Sequence[str]], NDArray[np.float32]]
"""Vectors of shape (texts, dimensions) for texts, in order."""

WINDOW: Final = 2
"""How many sentences on each side of a boundary are compared."""
_BATCH: Final = 4096
_STEPS: Final = 64  # coarse, so that a model's last bits of noise rarely decide


def semantic_tiers(documents: Sequence[Counted], embed: EmbedTexts) -> list[Tier]:
    """One tier for each document: its sentences, ranked by how unlike their neighbourhoods are.

    Every distinct sentence of the documents is embedded once, in calls of up to 4,096 texts.
    """
    cuts = [sentence_cuts(document, 0, len(document.text)) for document in documents]
    sentences = [_sentences(document.text, found) for document, found in zip(documents, cuts, strict=True)]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(text for part in sentences for text in part))}
    vectors = _directions(list(numbers), embed)
    return [
        _ranked(found, vectors[[numbers[text] for text in part]]) for found, part in zip(cuts, sentences, strict=True)
    ]


def _sentences(text: str, cuts: Cuts) -> list[str]:
    edges = [0, *cuts.positions.tolist(), len(text)]
    return [text[start:end].strip() for start, end in pairwise(edges)]


def _directions(texts: list[str], embed: EmbedTexts) -> NDArray[np.float32]:
    """Vectors of length 1 (or 0, for a zero vector)."""
    parts = [np.asarray(embed(texts[at : at + _BATCH]), dtype=np.float32) for at in range(0, len(texts), _BATCH)]
    shapes = [part.shape for part in parts]
    vectors = np.concatenate(parts) if all(len(shape) == 2 for shape in shapes) else parts[0]
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise EmbedderContract(
            f"chunking: semantic asked for {len(texts)} sentence vectors and received shapes {shapes}",
            hint="an embedder returns one finite vector per text, in order",
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)  # type: ignore[no-any-return]


def _ranked(cuts: Cuts, vectors: NDArray[np.float32]) -> Tier:
    """The tier of one document: ``vectors`` has one row more than there are boundaries."""
    count = len(cuts.positions)
    left, right = vectors[:count].copy(), vectors[1:].copy()
    for distance in range(1, min(WINDOW, count)):
        left[distance:] += vectors[: count - distance]
        right[: count - distance] += vectors[1 + distance :]
    product = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    alike = np.einsum("ij,ij->i", left, right) / np.maximum(product, np.finfo(np.float32).tiny)
    steps = np.rint((1.0 - np.clip(alike, -1.0, 1.0)) * _STEPS).astype(np.int64)
    ranked = Cuts(cuts.positions, SENTENCE + steps)

    def tier(_counted: Counted, start: int, end: int) -> Cuts:
        return ranked.inside(start, end)

    return tier
