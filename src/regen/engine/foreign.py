"""A collection that something else has built: which one is meant, a sample of it, and whose vectors they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from regen.core.recipe import Embedding, Recipe
from regen.errors import CollectionMissing, ConfigError, ForeignVectors
from regen.ports import Embedder, ForeignListingStore, ForeignRows, Store, Vector, Vectors
from regen.spaces.agreement import Agreement, agreement, are_normalized, closest
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize, unusable_rows

SAMPLE: Final = 64
FEW: Final = 8
PREFIXES: Final = ("", "passage: ", "query: ", "search_document: ", "search_query: ", "title: none | text: ")
"""Prefixes that published models ask for: tried on a few texts when the vectors are nearly the model's."""
_OURS: Final = re.compile(r"regen_.+_g\d+")
_NOTHING: Final = "nothing was taken over"


def choose(store: Store, wanted: str | None, own: Collection[str], where: str) -> str:
    """The collection that is meant: the one that is named, or the only one that regen has not made. Raises ConfigError.

    ``own`` are the collections of this index in that store.
    """
    held = store.collections()
    if isinstance(store, ForeignListingStore):
        held = sorted({*held, *store.foreign_collections()})
    if not held:
        raise ConfigError(
            f"there is no collection in {where}",
            hint="is it there? A relative path starts at the folder of regen.yaml; a path of another machine must be "
            "mounted, or the collection copied here, first",
        )
    if wanted is not None:
        if wanted not in held:
            raise CollectionMissing(f"there is no collection {wanted!r} in {where}", hint=f"there are: {_list(held)}")
        if wanted in own:
            raise ConfigError(f"{wanted!r} is a generation of this index", hint="`regen status` shows its generations")
        return wanted
    foreign = [name for name in held if name not in own and not _OURS.fullmatch(name)]
    if len(foreign) == 1:
        return foreign[0]
    if foreign:
        raise ConfigError(f"{where} holds {len(foreign)} collections", hint=f"name one, --collection: {_list(foreign)}")
    raise ConfigError(
        f"{where} holds only collections that regen has made: {_list(held)}",
        hint="their own regen.yaml goes on with them; to take one over all the same, name it with --collection",
    )


def _list(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")


@dataclass(slots=True)
class Sample:
    """About ``SAMPLE`` rows, evenly spread over a collection of ``rows`` rows; texts and vectors of equal length."""

    rows: int = 0
    texts: list[str] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list)
    _stride: int = 1
    _usable: int = 0
    _ids: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, pages: Iterable[ForeignRows], collection: str) -> Sample:
        """Look at every row once. Raises ConfigError for ids that are not unique, or when no row is usable.

        Memory: the ids of all rows.
        """
        sample = cls()
        for rows in pages:
            sample._see(rows, collection)
        if not sample.texts:
            raise ConfigError(f"collection {collection!r} has no row with a text and a vector")
        sample._ids.clear()
        return sample

    def _see(self, rows: ForeignRows, collection: str) -> None:
        self.rows += len(rows.ids)
        for name in rows.ids:
            if name in self._ids:
                raise ConfigError(
                    f"ids of {collection!r} are not unique: {name!r} is there twice, so that one row would replace "
                    "the other",
                    hint="name the column that holds the rows' own ids with --id COLUMN",
                )
            self._ids.add(name)
        bad = unusable_rows(rows.vectors)
        for at, text in enumerate(rows.texts):
            if text.strip() and at not in bad:
                if self._usable % self._stride == 0:
                    self.texts.append(text)
                    self.vectors.append(np.array(rows.vectors[at], dtype=np.float32))  # not a view: pages are large
                self._usable += 1
        while len(self.texts) > 2 * SAMPLE:  # every second one: still evenly spread
            self._stride *= 2
            del self.texts[1::2], self.vectors[1::2]


def judge(sample: Sample, recipe: Recipe, embedder: Embedder, collection: str) -> tuple[Agreement, list[str]]:
    """Embed the sample and compare; remarks on vectors that are the model's. Raises ForeignVectors with what they are.

    Of vectors that are near the model's a few texts are embedded again, with other prefixes.
    """
    part, held = recipe.embedding, np.stack(sample.vectors)
    own = embedder.embed_documents([part.document_prefix + text for text in sample.texts])
    found = agreement(held, own, lengths=not part.normalize)
    if not found.same and held.shape == own.shape and part.precision != "float32":
        made = agreement(_finished(held, part), _finished(own, part))  # as they would be kept
        found = made if made.same else found
    if found.same:
        return found, _remarks(held, part)
    problem, hint = found.problem, found.hint
    prefix = _prefix_of(sample, part, embedder) if found.near else None
    if prefix is not None:
        problem = f"made with the document prefix {prefix!r}, not {part.document_prefix!r}"
        hint = f"set `embedding: {{document_prefix: {prefix!r}}}`"
    hint = hint or "name the model, revision and document prefix that they were made with"
    raise ForeignVectors(
        f"the vectors of {collection!r} are not those of {part.model!r} (space {recipe.space}): {problem}",
        hint=f"{hint}; {_NOTHING}",
    )


def _prefix_of(sample: Sample, part: Embedding, embedder: Embedder) -> str | None:
    """The document prefix with which the model gives the held vectors, None when it is none of the usual ones."""
    info, texts = embedder.info, sample.texts[:FEW]
    usual = dict.fromkeys((info.document_prefix, info.query_prefix, part.query_prefix, *PREFIXES))
    makings = {
        prefix: embedder.embed_documents([prefix + text for text in texts])
        for prefix in usual
        if prefix != part.document_prefix
    }
    return closest(np.stack(sample.vectors[:FEW]), makings)


def _finished(vectors: Vectors, part: Embedding) -> Vectors:
    return quantize(normalize(vectors) if part.normalize else vectors, part.precision)


def _remarks(held: Vectors, part: Embedding) -> list[str]:
    if part.normalize and not are_normalized(held):
        return ["the vectors were not normalised; they are now, as embedding.normalize asks: cosines are the same"]
    return []
