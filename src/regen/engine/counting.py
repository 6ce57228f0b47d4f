"""Counting what preparing documents would come to, action by action, each text once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from regen.core.chunking import Chunker
from regen.core.chunks import ENTRY_BYTES, text_digest, text_key
from regen.core.plan import Action, Step
from regen.core.recipe import Recipe
from regen.engine.embedding import CHARACTERS_PER_TOKEN, Slot
from regen.engine.prepare import Batch, Donor, Preparer, Task
from regen.ports import Embedder, VectorCache
from regen.ports.catalog import CatalogReader, Generation
from regen.ports.placements import Work

BATCH_DOCUMENTS: Final = 1_000
BATCH_BYTES: Final = 8_000_000
COPYING: Final[tuple[Action, ...]] = ("copy_vectors", "derive_vectors")


@dataclass(slots=True)
class Tally:
    """The sums of one step."""

    documents: int = 0
    chunks: int = 0
    texts: int = 0
    tokens: int = 0


@dataclass(slots=True)
class _Owed:
    """A text that must be embedded, for which step, unless an earlier lane turns out to bring it."""

    action: Action
    tokens: int


@dataclass(slots=True)
class Lane:
    """One generation, there already or yet to be made (None), and what bringing it up to date would come to.

    ``rate`` and ``copy_rate`` are texts embedded and chunks copied per second as measured on this machine, None when
    nothing was. ``feeders`` are lanes that are
    brought up to date before this one and whose vectors serve it: what they gain needs no embedding here. While they
    are still being counted texts are only noted; :meth:`settle` counts those that no feeder has gained.
    """

    generation: Generation | None
    recipe: Recipe
    embedder: Embedder
    chunker: Chunker
    donors: Sequence[Donor]
    reader: CatalogReader
    cache: VectorCache | None = None
    rate: float | None = None
    copy_rate: float | None = None
    feeders: list[Lane] = field(default_factory=list)
    tallies: dict[Action, Tally] = field(default_factory=dict)
    _counted: set[int] = field(default_factory=set)
    _gained: set[int] = field(default_factory=set)
    _owed: dict[int, _Owed] = field(default_factory=dict)
    _settled: bool = False
    _preparer: Preparer | None = None

    @property
    def number(self) -> int:
        """The generation's number, 0 for one that is yet to be made: it holds nothing."""
        return self.generation.number if self.generation else 0

    def tally(self, action: Action) -> Tally:
        """The sums of a step, from zero."""
        return self.tallies.setdefault(action, Tally())

    def behind(self, upto: int) -> Iterator[list[Work]]:
        """Documents that the log knows but the generation lacks."""
        after = self.generation.watermark if self.generation else 0
        while works := self.reader.behind(
            self.number, after=after, upto=upto, lane=None, limit=BATCH_DOCUMENTS, max_bytes=BATCH_BYTES
        ):
            yield works
            after = works[-1].revision

    def prepare(self, works: Sequence[Work]) -> Batch:
        """Decide what each document needs; nothing is fetched and nothing embedded."""
        if self._preparer is None:
            self._preparer = Preparer(self.recipe, self.chunker, self.reader, self.donors)
        batch = self._preparer.prepare(works, fetch=False)
        self._preparer.finished(batch)
        self._gained.update(key for task in batch.tasks if task.need == "replace" for key in task.keys)
        return batch

    def feed(self, others: Sequence[Lane]) -> Lane:
        """Take those of the lanes that are worked off before this one as feeders, if their vectors serve it."""
        donors = {donor.generation for donor in self.donors}
        self.feeders = [other for other in others if other.number in donors]
        return self

    def unheld(self, batch: Batch) -> list[Slot]:
        """The texts of a batch that would be sent to the model, each once over the lane's life."""
        fresh = [slot for slot in batch.to_embed if not self._is_held(_key(slot))]
        if self.cache is not None and fresh:
            held = self.cache.get_many(self.recipe.space, [slot.text for slot in fresh])
            fresh = [slot for i, slot in enumerate(fresh) if i not in held]
        self._counted.update(map(_key, fresh))
        return fresh

    def _is_held(self, key: int) -> bool:
        return key in self._counted or self._is_fed(key)

    def _is_fed(self, key: int) -> bool:
        return any(key in feeder._gained for feeder in self.feeders)  # noqa: SLF001 - another lane's

    def sent(self, batch: Batch) -> set[int]:
        """The identities of a batch's slots that no feeder fills."""
        return {id(slot) for slot in batch.to_embed if not self._is_fed(_key(slot))}

    def count_texts(self, slots: Sequence[Slot], action_of: Callable[[Slot], Action]) -> None:
        """Add texts and tokens to the steps that need them first, at once or when the lane is settled."""
        prefixed = [self.recipe.embedding.document_prefix + slot.text for slot in slots]
        if self.embedder.info.price_per_million_tokens > 0:
            tokens = [len(starts) for starts in self.embedder.token_starts(prefixed)]
        else:
            tokens = [len(text) // CHARACTERS_PER_TOKEN + 1 for text in prefixed]
        for slot, count in zip(slots, tokens, strict=True):
            owed = self._owed[_key(slot)] = _Owed(action_of(slot), count)
            if not self.feeders or self._settled:
                self._pay(_key(slot), owed)

    def _pay(self, key: int, owed: _Owed) -> None:
        tally = self.tally(owed.action)
        tally.texts += 1
        tally.tokens += owed.tokens
        del self._owed[key]

    def settle(self) -> None:
        """All feeders are counted: count what none of them has gained, and from now on at once."""
        self._settled = True
        for key, owed in list(self._owed.items()):
            if self._is_fed(key):
                self._counted.discard(key)
                del self._owed[key]
            else:
                self._pay(key, owed)

    @property
    def embeds(self) -> bool:
        """Whether any text would be sent to the model."""
        return bool(self._counted)

    def step(self, action: Action, reason: str) -> Step:
        """One step with its price and an estimate of its time.

        Texts / rate of embedding, and for what is copied or derived chunks / rate of copying, as far as measured.
        """
        tally = self.tally(action)
        price = self.embedder.info.price_per_million_tokens
        seconds = tally.texts / self.rate if self.rate else 0.0
        if action in COPYING and self.copy_rate:
            seconds += tally.chunks / self.copy_rate
        return Step(
            action,
            reason,
            tally.documents,
            tally.chunks,
            tally.texts,
            tally.tokens,
            tally.tokens * price / 1e6,
            round(seconds, 3),
        )


def _key(slot: Slot) -> int:
    return text_key(text_digest(slot.text))


def chunks_of(task: Task) -> int:
    """How many chunks a document's step touches."""
    if task.need == "delete":
        return len(task.dropped) // ENTRY_BYTES
    return len(task.kept) if task.need == "payload" else len(task.new)
