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
from regen.ports.catalog import CatalogReader, Generation, Work

BATCH_DOCUMENTS: Final = 1_000
BATCH_BYTES: Final = 8_000_000


@dataclass(slots=True)
class Tally:
    """The sums of one step."""

    documents: int = 0
    chunks: int = 0
    texts: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Lane:
    """One generation, there already or yet to be made (None), and what bringing it up to date would come to.

    ``attribute`` names the step for a document that a change or an earlier failure left behind; ``rate`` is texts per
    second as measured on this machine, None when nothing was.
    """

    generation: Generation | None
    recipe: Recipe
    embedder: Embedder
    chunker: Chunker
    donors: Sequence[Donor]
    reader: CatalogReader
    cache: VectorCache | None = None
    rate: float | None = None
    tallies: dict[Action, Tally] = field(default_factory=dict)
    _counted: set[int] = field(default_factory=set)
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
        batch = self._preparer.prepare(works, None)
        self._preparer.finished(batch)
        return batch

    def unheld(self, batch: Batch) -> list[Slot]:
        """The texts of a batch that would be sent to the model, each once over the lane's life."""
        fresh = [slot for slot in batch.to_embed if text_key(text_digest(slot.text)) not in self._counted]
        if self.cache is not None and fresh:
            held = self.cache.get_many(self.recipe.space, [slot.text for slot in fresh])
            fresh = [slot for i, slot in enumerate(fresh) if i not in held]
        self._counted.update(text_key(text_digest(slot.text)) for slot in fresh)
        return fresh

    def count_texts(self, slots: Sequence[Slot], action_of: Callable[[Slot], Action]) -> None:
        """Add texts and tokens to the steps that need them first."""
        prefixed = [self.recipe.embedding.document_prefix + slot.text for slot in slots]
        if self.embedder.info.price_per_million_tokens > 0:
            tokens = [len(starts) for starts in self.embedder.token_starts(prefixed)]
        else:
            tokens = [len(text) // CHARACTERS_PER_TOKEN + 1 for text in prefixed]
        for slot, count in zip(slots, tokens, strict=True):
            tally = self.tally(action_of(slot))
            tally.texts += 1
            tally.tokens += count

    @property
    def embeds(self) -> bool:
        """Whether any text would be sent to the model."""
        return bool(self._counted)

    def step(self, action: Action, reason: str) -> Step:
        """One step with its price and an estimate of its time: texts / measured rate."""
        tally = self.tally(action)
        price = self.embedder.info.price_per_million_tokens
        seconds = round(tally.texts / self.rate, 3) if self.rate else 0.0
        return Step(
            action,
            reason,
            tally.documents,
            tally.chunks,
            tally.texts,
            tally.tokens,
            tally.tokens * price / 1e6,
            seconds,
        )


def chunks_of(task: Task) -> int:
    """How many chunks a document's step touches."""
    if task.need == "delete":
        return len(task.dropped) // ENTRY_BYTES
    return len(task.kept) if task.need == "payload" else len(task.new)
