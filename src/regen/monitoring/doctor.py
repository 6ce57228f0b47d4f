"""doctor: every part looked at once, nothing changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from regen.core import rights
from regen.core.freshness import Target, impossible
from regen.core.recipe import Recipe, describe_difference
from regen.core.results import DoctorReport, Finding
from regen.errors import RegenError
from regen.ports import Embedder, Source, Store
from regen.ports.catalog import CatalogReader, Generation
from regen.ports.feeds import Feeds

PROBE: Final = "How do I reset my password?"
MIN_FREE_BYTES: Final = 500_000_000


class _UnwellError(Exception):
    """A check's finding that is not an error of its own: detail and hint."""

    def __init__(self, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _Examination:
    """What the checks look at."""

    feeds: Feeds
    embedder: Embedder
    store: Store
    store_of: Callable[[Generation], Store]
    catalog: CatalogReader
    recipe: Recipe
    generations: Sequence[Generation]
    alias: str
    root: Path
    probe: Callable[[Generation], float | None]
    astray: Callable[[], str | None]

    def check_source(self) -> str:
        """All sources are looked at before anything is said."""
        told, wrong, hint = [], [], None
        for feed in self.feeds:
            try:
                told.append(_first_of(feed.source))
            except (_UnwellError, RegenError) as error:
                wrong.append(getattr(error, "message", str(error)))
                hint = error.hint or hint
        if wrong:
            raise _UnwellError("; ".join([*wrong, *told]), hint)
        return "; ".join(told) or "none: documents are pushed"

    def check_freshness(self) -> str:
        """Whether targets can be met at all by how the sources are refreshed."""
        targets = [feed for feed in self.feeds if feed.target is not None]
        wrong = [
            f"{feed.name}: {why}"
            for feed in targets
            for why in impossible(feed.target or Target(), feed.policy, followed=feed.watchable is not None)
        ]
        if wrong:
            raise _UnwellError("; ".join(wrong), "loosen the target, or let the source be refreshed sooner")
        return f"{len(targets)} sources have a target that can be met" if targets else "no targets"

    def check_embedder(self) -> str:
        info = self.embedder.info
        document = np.asarray(self.embedder.embed_documents([PROBE]), dtype=np.float32)
        query = np.asarray(self.embedder.embed_query(PROBE), dtype=np.float32)
        for name, vector in (("document", document.reshape(-1)), ("query", query.reshape(-1))):
            if vector.shape != (info.dimensions,):
                raise _UnwellError(f"{info.name}: a {name} vector has {len(vector)} dimensions, not {info.dimensions}")
            if not np.isfinite(vector).all() or not vector.any():
                raise _UnwellError(f"{info.name}: a {name} vector is zero, or contains NaN or infinity")
        chunks = self.recipe.chunking
        if info.max_tokens is not None and chunks.kind != "whole" and chunks.max_tokens > info.max_tokens:
            raise _UnwellError(
                f"{info.name} reads {info.max_tokens} tokens of a text; chunks have up to {chunks.max_tokens}",
                f"set chunking.max_tokens to {info.max_tokens} or less (less what prefix and template add)",
            )
        return f"{info.name}: {info.dimensions} dimensions, space {self.recipe.space}"

    def check_probes(self) -> str:
        """Generations of a model other than the configured one are looked at by who is configured for it."""
        wanted = self.recipe.embedding
        ours = [
            item
            for item in self.generations
            if (item.recipe.embedding.model, item.recipe.embedding.revision) == (wanted.model, wanted.revision)
        ]
        lowest = [self.probe(item) for item in ours]
        found = [cosine for cosine in lowest if cosine is not None]
        if not found:
            return "none kept yet for this model"
        return f"{len(found)} generations: the model gives what it gave (cosine at least {min(found):.4f})"

    def check_catalog(self) -> str:
        holder = self.catalog.holder(rights.to_log(self.alias))
        state = f"revision {self.catalog.head()}, {self.catalog.alive():,} documents"
        return f"{state}; {holder.owner} is writing" if holder and holder.expires_at > time.time() else state

    def check_store(self) -> str:
        """Whether each generation's collection is in its store; all of them are looked at before anything is said."""
        wrong: list[str] = []
        for item in self.generations:
            try:
                gone = item.completed_at and item.collection not in self.store_of(item).collections()
                wrong += [f"collection {item.collection} of {item.told} is gone"] if gone else []
            except RegenError as error:
                wrong.append(f"{item.told} cannot be looked at: {error.message}")
        wrong += [told for told in [self.astray()] if told]
        if wrong:
            raise _UnwellError("; ".join(wrong), "`regen verify --repair` puts right what is in reach")
        return f"{len(self.store.collections())} collections"

    def check_recipe(self) -> str:
        for generation in self.generations[-1:]:
            if differences := describe_difference(generation.recipe, self.recipe):
                raise _UnwellError(
                    f"generation {generation.number} was built by another recipe: {'; '.join(differences)}",
                    "`regen sync` keeps it current by the recipe it was built with",
                )
        return f"recipe {self.recipe.fingerprint}"

    def check_dead_letters(self) -> str:
        letters = self.catalog.dead_letters(limit=3)
        if letters:
            raise _UnwellError(
                "; ".join(f"{letter.doc_id}: {letter.reason}" for letter in letters),
                "mend them, then `regen retry`; `regen status` lists all",
            )
        return "none"

    def check_disk(self) -> str:
        free = shutil.disk_usage(self.root).free
        if free < MIN_FREE_BYTES:
            raise _UnwellError(f"{free / 1e6:.0f} MB free at {self.root}", "free some space before the next sync")
        return f"{free / 1e9:.1f} GB free"


def _first_of(source: Source) -> str:
    """Whether the first documents of a source can be read."""
    first = next(iter(source.scan(_NothingKnown())), None)
    if first is None:
        return f"{source.name}: readable, but it holds no document"
    if first.unreadable:
        item = first.unreadable[0]
        raise _UnwellError(f"{source.name}: {item.id} cannot be read: {item.reason}", "the others are indexed")
    return f"{source.name}: readable"


class _NothingKnown:
    """A catalog that knows no stamp: the source must really read."""

    def stamps(self, ids: Sequence[str]) -> dict[str, str]:  # noqa: ARG002 - the port's signature
        return {}


def examine(  # noqa: PLR0913 - keywords, each a part that is looked at
    *,
    feeds: Feeds,
    embedder: Embedder,
    store: Store,
    store_of: Callable[[Generation], Store],
    catalog: CatalogReader,
    recipe: Recipe,
    generations: Sequence[Generation],
    alias: str,
    root: Path,
    probe: Callable[[Generation], float | None],
    astray: Callable[[], str | None],
) -> DoctorReport:
    """Run all checks; a failing one does not stop the others.

    ``probe`` embeds the probe texts of a generation again: the lowest cosine with the vectors that were kept, None when
    none were. It raises ModelChanged. ``astray`` tells, if so, that the store's own alias is not where it should be.
    """
    it = _Examination(feeds, embedder, store, store_of, catalog, recipe, generations, alias, root, probe, astray)
    checks: dict[str, Callable[[], str]] = {
        "source": it.check_source,
        "freshness": it.check_freshness,
        "model": it.check_embedder,
        "probes": it.check_probes,
        "catalog": it.check_catalog,
        "store": it.check_store,
        "recipe": it.check_recipe,
        "dead letters": it.check_dead_letters,
        "disk": it.check_disk,
    }
    return DoctorReport([_finding(name, check) for name, check in checks.items()])


def _finding(name: str, check: Callable[[], str]) -> Finding:
    started = time.perf_counter()
    try:
        detail, passed, hint = check(), True, None
    except (_UnwellError, RegenError) as error:
        detail, passed, hint = getattr(error, "message", str(error)), False, error.hint
    except Exception as error:  # noqa: BLE001 - whatever is broken is what doctor is there to tell
        detail, passed, hint = f"{type(error).__name__}: {error}", False, None
    return Finding(name, passed, detail, hint, time.perf_counter() - started)
