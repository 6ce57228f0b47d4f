"""Adopt: take over a collection that regen did not build, once its vectors are shown to be the model's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from regen.core.changes import Candidate, candidate
from regen.core.documents import Document
from regen.core.results import AdoptResult, Progress
from regen.core.transition import without_credentials
from regen.engine.account import Spent
from regen.engine.foreign import Sample, choose, judge
from regen.engine.lease import HeldLease
from regen.engine.writing import WriteSide
from regen.errors import ConfigError, EmbedderError
from regen.ports import AdoptableStore, ForeignColumns, ForeignRows, Store, Vector, Vectors
from regen.ports.catalog import Generation
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize, unusable_rows

SOURCE: Final = "push"
OnProgress = Callable[[Progress], None]


def adopt(
    writer: WriteSide,
    store: Store | str,
    collection: str | None,
    columns: ForeignColumns,
    progress: OnProgress | None = None,
) -> AdoptResult:
    """Take over a collection of a store, which may be another one than the index's: it is only read.

    Raises ConfigError, StoreError, ForeignVectors; then nothing was taken over.
    """
    if writer.catalog.route(writer.alias).live is not None:
        raise ConfigError(
            f"alias {writer.alias!r} has a live generation already",
            hint="adopt into a project of its own: another alias with another catalog",
        )
    ours = store in (writer.stores.name, writer.stores.configured)
    opened = writer.stores.configured if ours else writer.stores.open_store(store) if isinstance(store, str) else store
    where = without_credentials(store) if isinstance(store, str) and store else "the store"
    try:
        if not isinstance(opened, AdoptableStore):
            raise ConfigError(
                f"foreign collections of {where} cannot be read",
                hint="adopt works with every store of regen's but memory://",
            )
        own = {item.collection for item in writer.current()} if ours else set()
        chosen = choose(opened, collection, own, where)
        return Adopter(writer, opened, chosen, columns, where).run(progress)
    finally:
        if isinstance(store, str) and not ours:
            opened.close()


@dataclass(slots=True)
class _Page:
    """The vectors of one page, by text: what the writer asks for instead of the model. ``ids`` are its documents."""

    vectors: dict[str, Vector] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

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
    where: str

    def run(self, progress: OnProgress | None = None) -> AdoptResult:
        """Check a sample, then copy everything; only the sample is embedded. Raises ForeignVectors, ConfigError.

        Stopped and begun again it goes on where it was.
        """
        started, writer = time.perf_counter(), self.writer
        self._require_plain_recipe()
        sample = Sample.of(self._pages(), self.collection)
        found, notes = judge(sample, writer.models.recipe, writer.models.embedder, self.collection)
        generation = writer.create(writer.models.recipe)
        with writer.lease(generation) as lease:
            writer.prepare_collection(generation)
            skipped = self._copy(generation, lease, sample.rows, progress)
            writer.go_live(writer.fresh(generation), reason=f"adopted from {self.collection} in {self.where}")
        counts = writer.catalog.counts(generation.number)
        return AdoptResult(
            generation.number,
            generation.recipe.space,
            counts.documents,
            counts.chunks,
            len(sample.texts),
            found.median,
            0,
            skipped,
            time.perf_counter() - started,
            self.collection,
            self.where,
            notes,
        )

    def _copy(self, generation: Generation, lease: HeldLease, total: int, progress: OnProgress | None) -> int:
        """Log and place page by page; how many rows have nothing to take over."""
        writer, read, skipped, page = self.writer, 0, 0, _Page()
        behind = writer.catalog.counts(generation.number).pending > 0  # a page that was logged when somebody stopped
        for rows in self._pages():
            candidates, bad = self._candidates(rows, page)
            writer.catalog.log(SOURCE, candidates, content_keys=(), at=time.time())
            behind = behind and bool(self._strangers(writer.fresh(generation), page))
            if not behind:
                writer.reconcile_from(writer.fresh(generation), lease, page, Spent())
                page = _Page()
            read, skipped = read + len(rows.ids), skipped + bad
            if progress:
                progress(Progress("adopt", read, total))
        if behind:
            strangers = self._strangers(writer.fresh(generation), page)
            raise ConfigError(
                f"{len(strangers)} documents wait in the catalog that {self.collection!r} does not hold: "
                f"{', '.join(strangers[:5])}",
                hint="delete them, or adopt in a project of its own",
            )
        return skipped

    def _strangers(self, generation: Generation, page: _Page) -> list[str]:
        """Documents that are to be placed and are not of the page."""
        catalog = self.writer.catalog
        works = catalog.behind(
            generation.number,
            after=generation.watermark,
            upto=catalog.head(),
            lane=None,
            limit=len(page.ids) + 1_000,
            max_bytes=1 << 40,
        )
        return [work.doc_id for work in works if work.doc_id not in page.ids]

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

    def _candidates(self, rows: ForeignRows, page: _Page) -> tuple[list[Candidate], int]:
        """Documents for the rows, whose vectors are added to the page, and how many have nothing to take over."""
        bad = unusable_rows(rows.vectors)
        wanted = self.writer.models.recipe.embedding
        vectors = quantize(normalize(rows.vectors) if wanted.normalize else rows.vectors, wanted.precision)
        found = []
        for i, text in enumerate(rows.texts):
            if i in bad or not text.strip():
                continue
            found.append(candidate(Document(rows.ids[i], text, rows.metadata[i])))
            page.vectors[text.strip()] = vectors[i]
            page.ids.add(rows.ids[i])
        return found, len(rows.ids) - len(found)
