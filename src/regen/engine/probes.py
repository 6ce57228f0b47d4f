"""Probe vectors: those of fixed texts, kept with a generation, tell when a model changes behind its name (I10)."""

from __future__ import annotations

from typing import Final

import numpy as np

from regen.core.recipe import Recipe
from regen.errors import ModelChanged
from regen.ports import Embedder, Vectors
from regen.ports.catalog import Catalog, CatalogReader, Generation
from regen.spaces.vectors import normalize

TEXTS: Final = (
    "How do I reset my password?",
    "The quick brown fox jumps over the lazy dog.",
    "Salaries are paid on the 25th of each month.",
    "def add(a, b):\n    return a + b",
    "Die Straßenbahn fährt alle zehn Minuten.",
    "La réunion est reportée à jeudi.",
    "東京は日本の首都です。",
    "Error 404: the page was not found.",
)
TOLERANCE: Final = 0.995
"""Cosine similarity below which a vector is another one: rounding on other hardware stays above 0.9999."""


def embed(embedder: Embedder, recipe: Recipe) -> Vectors:
    """The probe vectors as the model gives them now, before any loss of precision; shape (texts, dimensions)."""
    return np.ascontiguousarray(
        embedder.embed_documents([recipe.embedding.document_prefix + text for text in TEXTS]), dtype=np.float32
    )


def keep(catalog: Catalog, generation: Generation, embedder: Embedder) -> None:
    """Keep a generation's probe vectors, if they are not kept already.

    A build keeps them before it embeds anything, the first sync of all when its generation is complete.
    """
    if catalog.probes(generation.number) is None:
        catalog.keep_probes(generation.number, embed(embedder, generation.recipe).tobytes())


def check(reader: CatalogReader, generation: Generation, embedder: Embedder) -> float | None:
    """The lowest cosine of kept and present probe vectors, None when none are kept. Raises ModelChanged."""
    before = kept_vectors(reader, generation)
    return None if before is None else compare(generation, before, embed(embedder, generation.recipe))


def kept_vectors(reader: CatalogReader, generation: Generation) -> Vectors | None:
    """The probe vectors kept with a generation, shape (texts, dimensions)."""
    kept = reader.probes(generation.number)
    return None if kept is None else np.frombuffer(kept, dtype=np.float32).reshape(len(TEXTS), -1)


def lowest_cosine(generation: Generation, before: Vectors, now: Vectors) -> float:
    """The lowest cosine of a generation's probe vectors and present ones. Raises ModelChanged for other dimensions."""
    if now.shape != before.shape:
        raise ModelChanged(
            f"{_name(generation)} gives {now.shape[1]} dimensions; it gave {before.shape[1]}", hint=_HINT
        )
    return float((normalize(before) * normalize(now)).sum(axis=1).min())


def compare(generation: Generation, before: Vectors, now: Vectors) -> float:
    """The same. Raises ModelChanged also where the vectors are others."""
    lowest = lowest_cosine(generation, before, now)
    if not lowest >= TOLERANCE:
        raise ModelChanged(
            f"{_name(generation)} gives other vectors than when generation {generation.number} was built: the least "
            f"similar of {len(TEXTS)} probe texts has a cosine of {lowest:.3f}",
            hint=_HINT,
        )
    return lowest


_HINT: Final = (
    "the provider has changed the model behind its name, or another file was loaded: pin its revision, or build a new "
    "generation under another name; nothing was written"
)


def _name(generation: Generation) -> str:
    return f"the model {generation.recipe.embedding.model!r}"
