"""What can be measured when a plan is made, for the answer to "must I re-embed?": nothing is written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from regen.core.decision import Evidence, Lift, Neighbours
from regen.core.recipe import Recipe
from regen.core.transition import Transition
from regen.engine import probes
from regen.engine.donors import derivation, donors_for
from regen.engine.embedding import CHARACTERS_PER_TOKEN
from regen.engine.models import Models
from regen.engine.prepare import Preparer
from regen.engine.room import spec_of
from regen.engine.stores import Stores
from regen.errors import RegenError
from regen.ports import Embedder, SizedStore, Store, Vectors
from regen.ports.catalog import CatalogReader, Generation
from regen.ports.placements import Work
from regen.spaces.derive import neighbour_overlap, quantize
from regen.spaces.vectors import normalize

SAMPLE: Final = 200
"""Texts of a sample, unless another number is asked for."""
FEWEST: Final = 20
"""Below so many texts a share of nearest neighbours says nothing."""
NEIGHBOURS: Final = 10
SECONDS: Final = 10.0
"""A slow model is asked for so long; what it has given by then is the sample."""
_STRIPES: Final = 20
_STRIPE_BYTES: Final = 200_000
_CALL_TEXTS: Final = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts of the live generation, without prefix, and the vectors that it holds of them."""

    texts: list[str]
    vectors: Vectors


@dataclass(slots=True)
class Witness:
    """Gathers the evidence for one change of recipe.

    ``texts`` is how many texts the wanted model may be sent: 0 none at all, None ``SAMPLE`` for a model that runs in
    this process and costs nothing, else none. ``rate`` is the wanted model's, in texts a second, once it was asked.
    """

    alias: str
    reader: CatalogReader
    models: Models
    stores: Stores
    texts: int | None = 0
    rate: float | None = None
    _remarks: list[str] = field(default_factory=list)

    def gather(self, live: Generation, path: Transition) -> Evidence:
        """What speaks for and against embedding anew, as far as it can be measured here."""
        if not path.needs_generation:
            return Evidence()
        wanted = self.models.recipe
        found = Evidence(lift=self._lift(live, wanted), vector_bytes=self._vector_bytes(live, wanted))
        sample = self._sample(live) if path.path in {"derive", "embed"} else None
        if path.path == "derive" and sample is not None:
            found = replace(found, derived=self._compare_derived(live.recipe, wanted, sample))
        if self._may_ask(sample):
            found = self._ask(found, live, wanted, path, sample)
        return replace(found, remarks=tuple(self._remarks))

    # ── the model ──

    def _may_ask(self, sample: Sample | None) -> bool:
        """Whether the wanted model may be sent anything; if only for its price, that price is told."""
        info = self.models.embedder.info
        free = info.local and info.price_per_million_tokens == 0
        if self.texts is None and not free and sample is not None:
            tokens = sum(len(text) // CHARACTERS_PER_TOKEN + 1 for text in (*sample.texts, *probes.TEXTS))
            price = info.price_per_million_tokens
            cost = f"${tokens * price / 1e6:.4f}" if price else "no price is set"
            count = len(sample.texts)
            self._remarks.append(
                f"{info.name} was not asked, for it may cost something: `regen plan --sample {count}` sends it "
                f"{count + len(probes.TEXTS)} texts (about {tokens:,} tokens, {cost})"
            )
        return free if self.texts is None else self.texts > 0

    def _ask(
        self, found: Evidence, live: Generation, wanted: Recipe, path: Transition, sample: Sample | None
    ) -> Evidence:
        try:
            found = self._ask_probes(found, live, wanted)
            if path.path == "embed" and sample is not None:
                found = replace(found, embedded=self._compare_embedded(wanted, sample))
        except Exception as error:  # noqa: BLE001 - what cannot be measured must not keep anybody from planning
            self._remarks.append(f"not everything could be measured: {type(error).__name__}: {error}".splitlines()[0])
        return found

    def _ask_probes(self, found: Evidence, live: Generation, wanted: Recipe) -> Evidence:
        kept = probes.kept_vectors(self.reader, live)
        if kept is None:
            self._remarks.append(f"no probe vectors were kept with generation {live.number}")
            return found
        ours = probes.embed(self.models.embedder, wanted)
        same_call = _calls_alike(live.recipe, wanted)
        theirs = ours if same_call else self._live_probes(live)
        if theirs is not None:
            found = replace(found, live_probes=_lowest(kept, theirs))
        if same_call:
            return found
        if ours.shape != kept.shape:
            words = f"{kept.shape[1]} and {ours.shape[1]}"
            self._remarks.append(f"the two models' probe vectors cannot be compared: {words} dimensions")
            return found
        return replace(found, new_probes=_lowest(kept, ours))

    def _live_probes(self, live: Generation) -> Vectors | None:
        """Those that the live generation's own model gives now, None when it cannot be had or is not free."""
        try:
            embedder = self.models.embedder_for(live)
        except RegenError as error:
            self._remarks.append(f"the live generation's model could not be asked: {error.message}")
            return None
        info = embedder.info
        if self.texts is None and not (info.local and info.price_per_million_tokens == 0):
            return None
        return probes.embed(embedder, live.recipe)

    def _compare_embedded(self, wanted: Recipe, sample: Sample) -> Neighbours | None:
        vectors = self._embed(self.models.embedder, wanted, sample.texts[: self.texts or SAMPLE])
        return _neighbours(sample.vectors[: len(vectors)], vectors)

    def _embed(self, embedder: Embedder, recipe: Recipe, texts: Sequence[str]) -> Vectors:
        prefix, part = recipe.embedding.document_prefix, recipe.embedding
        parts: list[Vectors] = []
        began = time.monotonic()
        for start in range(0, len(texts), _CALL_TEXTS):
            call = [prefix + text for text in texts[start : start + _CALL_TEXTS]]
            parts.append(np.asarray(embedder.embed_documents(call), dtype=np.float32))
            if time.monotonic() - began > SECONDS:
                break
        vectors = np.concatenate(parts)
        self.rate = len(vectors) / max(time.monotonic() - began, 1e-6)
        return quantize(normalize(vectors) if part.normalize else vectors, part.precision)

    # ── the live generation ──

    def _sample(self, live: Generation) -> Sample | None:
        """Texts spread over the change log, with the vectors that the live generation holds of them."""
        try:
            embedder = self.models.embedder_for(live)
            chunker = self.models.chunker_for(live.recipe, embedder)
            own = donors_for(live.recipe.embedding, live, [], self.models, self.stores)
            batch = Preparer(live.recipe, chunker, self.reader, own).prepare(list(self._works()))
        except RegenError as error:
            self._remarks.append(f"no sample of generation {live.number} could be taken: {error.message}")
            return None
        slots = {slot.text: slot for task in batch.tasks for slot in task.slots if slot.vector is not None}
        wanted = self.texts or SAMPLE
        some = list(slots.values())[:: max(1, len(slots) // wanted)][:wanted]
        if len(some) < FEWEST:
            self._remarks.append(f"neighbours were not compared: {len(some)} texts are too few")
            return None
        return Sample([slot.text for slot in some], np.stack([slot.vector for slot in some if slot.vector is not None]))

    def _works(self) -> Sequence[Work]:
        head, found = self.reader.head(), dict[str, Work]()
        each = max(1, (self.texts or SAMPLE) // _STRIPES)
        for stripe in range(_STRIPES):
            after, upto = head * stripe // _STRIPES, head * (stripe + 1) // _STRIPES
            works = self.reader.behind(0, after=after, upto=upto, lane=None, limit=each, max_bytes=_STRIPE_BYTES)
            found.update((work.doc_id, replace(work, placement=None)) for work in works if not work.deleted)
        return list(found.values())

    def _compare_derived(self, old: Recipe, wanted: Recipe, sample: Sample) -> Neighbours | None:
        part = wanted.embedding
        derived = derivation(old.embedding, part)(sample.vectors)
        asked = derivation(old.embedding, replace(part, precision="float32"))(sample.vectors)
        found = _neighbours(sample.vectors, derived, queries=asked)
        padded = np.zeros_like(sample.vectors)
        padded[:, : derived.shape[1]] = derived
        cosine = float((normalize(sample.vectors) * normalize(padded)).sum(axis=1).mean())
        return None if found is None else replace(found, cosine=cosine)

    # ── what is kept ──

    def _vector_bytes(self, live: Generation, wanted: Recipe) -> tuple[float, float] | None:
        chunks = self.reader.counts(live.number).chunks
        try:
            before = _bytes_in(self.stores.of(live), live.recipe, chunks)
        except RegenError:
            return None  # that the store cannot be reached is said where it matters
        after = _bytes_in(self.stores.configured, wanted, chunks)
        return None if before is None or after is None else (before, after)

    def _lift(self, live: Generation, wanted: Recipe) -> Lift | None:
        """The newest kept evaluation of a generation that had the wanted recipe."""
        numbers = [
            item.number
            for item in self.reader.generations()
            if item.recipe.fingerprint == wanted.fingerprint and item.number != live.number
        ]
        for number in reversed(numbers):
            for kept in self.reader.evaluations(self.alias, number):
                comparison = _main_comparison(kept.result)
                if comparison is not None:
                    return _lift_of(comparison, number, kept.against)
        return None


def _calls_alike(old: Recipe, new: Recipe) -> bool:
    """Whether both recipes send one model the same texts, so that one answer serves to look at both."""
    names = ("model", "revision", "dimensions", "document_prefix")
    return all(getattr(old.embedding, name) == getattr(new.embedding, name) for name in names)


def _lowest(before: Vectors, now: Vectors) -> float:
    """The lowest cosine of two sets of probe vectors; -1 when they are not even of one size."""
    if before.shape != now.shape:
        return -1.0
    return float((normalize(before) * normalize(now)).sum(axis=1).min())


def _neighbours(before: Vectors, after: Vectors, *, queries: Vectors | None = None) -> Neighbours | None:
    count = len(after)
    if count < FEWEST:
        return None
    k = min(NEIGHBOURS, count // 4)
    return Neighbours(count, k, neighbour_overlap(before, after, k, queries=queries))


def _bytes_in(store: Store, recipe: Recipe, chunks: int) -> float | None:
    return store.vector_bytes(spec_of(recipe), chunks) if isinstance(store, SizedStore) else None


def _main_comparison(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The comparison of all queries that is about nDCG, or else the first one."""
    whole = [one for one in result.get("comparisons", []) if one.get("slice") == "all"]
    return next((one for one in whole if str(one["measure"]).startswith("nDCG")), whole[0] if whole else None)


def _lift_of(found: Mapping[str, Any], generation: int, against: int | None) -> Lift:
    return Lift(
        generation,
        against,
        found["collection"],
        found["measure"],
        found["delta"],
        found["ci_low"],
        found["ci_high"],
        found.get("queries", 0),
    )
