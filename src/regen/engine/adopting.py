"""Adopt: take over a collection that regen did not build, once its vectors are shown to be the model's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from regen.core.changes import Candidate, candidate
from regen.core.documents import Document
from regen.core.results import AdoptResult, Progress
from regen.engine.account import Spent
from regen.engine.writing import WriteSide
from regen.errors import ConfigError, EmbedderError, ForeignVectors
from regen.ports import AdoptableStore, ForeignColumns, ForeignRows, Vector, Vectors
from regen.spaces.compare import Agreement, agreement, are_normalized
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize, unusable_rows

SAMPLE: Final = 64
SOURCE: Final = "push"
OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class _Page:
    """The vectors of one page, by text: what the writer asks for instead of the model."""

    vectors: dict[str, Vector] = field(default_factory=dict)

    def get_many(self, space: str, texts: Sequence[str]) -> dict[int, Vector]:  # noqa: ARG002 - one space only
        """Those of the page; a text that the page lacks was never asked for."""
        missing = [text for text in texts if text not in self.vectors]
        if missing:
            raise EmbedderError(f"adopting would have to embed {len(missing)} texts: {missing[0][:60]!r} …")
        return {position: self.vectors[text] for position, text in enumerate(texts)}

    def put_many(self, space: str, texts: Sequence[str], vectors: Vectors) -> None:
        """Nothing is embedded, so nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Adopter:
    """Takes over one collection into a new generation 1. The collection itself is only read."""

    writer: WriteSide
    store: AdoptableStore
    collection: str
    columns: ForeignColumns

    def run(self, progress: OnProgress | None = None) -> AdoptResult:
        """Check a sample, then copy everything; only the sample is embedded. Raises ForeignVectors, ConfigError."""
        started, writer = time.perf_counter(), self.writer
        if writer.catalog.route(writer.alias).live is not None:
            raise ConfigError(
                f"alias {writer.alias!r} has a live generation already",
                hint="adopt into a project of its own: another alias with another catalog",
            )
        self._require_plain_recipe()
        checked, found = self._check()
        generation = writer.create(writer.models.recipe)
        documents = skipped = 0
        with writer.lease(generation) as lease:
            writer.prepare_collection(generation)
            for rows in self._pages():
                candidates, page, bad = self._candidates(rows)
                writer.catalog.log(SOURCE, candidates, content_keys=(), at=time.time())
                writer.reconcile_from(generation, lease, page, Spent())
                generation = writer.fresh(generation)
                documents, skipped = documents + len(candidates), skipped + bad
                if progress:
                    progress(Progress("adopt", documents, None))
            writer.go_live(generation, reason=f"adopted from {self.collection}")
        counts = writer.catalog.counts(generation.number)
        return AdoptResult(
            generation.number,
            generation.recipe.space,
            counts.documents,
            counts.chunks,
            checked,
            found.median,
            0,
            skipped,
            time.perf_counter() - started,
        )

    def _require_plain_recipe(self) -> None:
        recipe = self.writer.models.recipe
        if recipe.chunking.kind != "whole" or recipe.text.template != "{text}":
            raise ConfigError(
                f"the rows of a collection are chunks already, but the recipe cuts ({recipe.chunking.kind}) "
                f"or adds to them ({recipe.text.template!r})",
                hint='for adopting set `chunking: {kind: whole}` and `text: "{text}"`; change them later, '
                "which builds a second generation",
            )

    def _pages(self) -> Iterator[ForeignRows]:
        return self.store.foreign(self.collection, self.columns)

    def _check(self) -> tuple[int, Agreement]:
        """Embed a sample spread over the collection, and compare."""
        texts, vectors = self._sample()
        if not texts:
            raise ConfigError(f"collection {self.collection!r} has no row with a text and a vector")
        recipe = self.writer.models.recipe
        own = self.writer.models.embedder.embed_documents([recipe.embedding.document_prefix + text for text in texts])
        found = agreement(vectors, own)
        if not found.same:
            raise ForeignVectors(
                f"the vectors of {self.collection!r} are not those of {recipe.embedding.model!r} "
                f"(space {recipe.space}): {found.problem}",
                hint="name the model, revision and document prefix that they were made with; nothing was taken over",
            )
        if not recipe.embedding.normalize and are_normalized(vectors) and not are_normalized(own):
            raise ForeignVectors(
                "the vectors are normalised, those of the recipe are not", hint="set `embedding: {normalize: true}`"
            )
        return len(texts), found

    def _sample(self) -> tuple[list[str], Vectors]:
        """A row of every page, and more of the first ones until there are enough."""
        texts: list[str] = []
        vectors: list[Vector] = []
        spare: list[tuple[str, Vector]] = []
        for rows in self._pages():
            bad = unusable_rows(rows.vectors)
            usable = [i for i, text in enumerate(rows.texts) if text.strip() and i not in bad]
            picked = usable[:: max(1, len(usable) // SAMPLE)][:SAMPLE]
            for i in picked[:1]:
                texts.append(rows.texts[i])
                vectors.append(rows.vectors[i])
            if len(spare) < 4 * SAMPLE:
                spare += [(rows.texts[i], rows.vectors[i]) for i in picked[1:]]
        for text, vector in spare[:: max(1, len(spare) // SAMPLE)][:SAMPLE]:
            texts.append(text)
            vectors.append(vector)
        return texts, np.asarray(vectors, dtype=np.float32)

    def _candidates(self, rows: ForeignRows) -> tuple[list[Candidate], _Page, int]:
        """Documents for the rows, the vectors by text, and how many rows have nothing to take over."""
        bad = unusable_rows(rows.vectors)
        wanted = self.writer.models.recipe.embedding
        vectors = quantize(normalize(rows.vectors) if wanted.normalize else rows.vectors, wanted.precision)
        page, found = _Page(), []
        for i, text in enumerate(rows.texts):
            if i in bad or not text.strip():
                continue
            found.append(candidate(Document(rows.ids[i], text, rows.metadata[i])))
            page.vectors[text.strip()] = vectors[i]
        return found, page, len(rows.ids) - len(found)
