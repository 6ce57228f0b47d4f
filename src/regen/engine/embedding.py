"""From texts to vectors: packed into calls by tokens, run concurrently, counted, and bisected down to a bad text."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

import numpy as np

from regen.core.recipe import Recipe
from regen.engine.account import Spent
from regen.errors import BudgetExceeded, EmbedderContract, EmbedderError, RegenError, TextRejected
from regen.ports import Embedder, Vector, VectorCache, Vectors
from regen.spaces.derive import quantize
from regen.spaces.vectors import normalize, unusable_rows

CHARACTERS_PER_TOKEN: Final = 4
HOPELESS: Final = 8
"""So many texts failing one after the other, with none ever succeeding, means the model fails, not the texts."""


@dataclass(slots=True)
class Slot:
    """The future vector of one distinct text, known to the catalog by ``key``.

    Exactly one of ``vector`` and ``error`` is set in the end.
    """

    text: str
    key: int = 0
    vector: Vector | None = None
    error: str | None = None


class Filling:
    """The calls that fill the slots of one batch, made or still under way."""

    __slots__ = ("_calls", "_error")

    def __init__(self, calls: Sequence[Future[None]] = (), error: BaseException | None = None) -> None:
        self._calls, self._error = calls, error

    def wait(self) -> None:
        """Return when no slot of the batch will be filled any more. Raises what stopped the run, if a call did."""
        wait(self._calls)
        if self._error is not None:
            raise self._error
        for call in self._calls:
            call.result()


class TextEmbedder:
    """Fills slots. One instance serves one run; its methods are called by one thread, its calls run in several.

    ``halt`` is set by the first call that stops the run: the connection, the budget, the contract. Whoever else sets
    it stops the run as well: calls under way end, further ones are not made, and their slots stay empty.
    """

    def __init__(
        self,
        embedder: Embedder,
        recipe: Recipe,
        spent: Spent,
        *,
        cache: VectorCache | None = None,
        concurrency: int | None = None,
        exact_tokens: bool = False,
    ) -> None:
        self._embedder, self._recipe, self._cache = embedder, recipe, cache
        self._exact = exact_tokens or spent.purse.limit is not None or embedder.info.price_per_million_tokens > 0
        self._concurrency = max(1, concurrency or embedder.info.concurrency)
        self._pool = ThreadPoolExecutor(self._concurrency, "regen-embed") if self._concurrency > 1 else None
        self._failures_before_success = 0
        self._succeeded = False
        self.halt = threading.Event()
        self.spent = spent

    def close(self) -> None:
        """Wait for the calls under way."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def concurrent(self) -> bool:
        """Whether several calls are under way at once."""
        return self._pool is not None

    @property
    def texts_at_once(self) -> int:
        """How many texts keep every thread busy with one call."""
        return self._concurrency * self._embedder.info.max_batch_texts

    def begin(self, slots: Sequence[Slot]) -> Filling:
        """Start to give every slot a vector or an error; with more than one thread, calls of several batches overlap.

        A batch whose calls wait behind those of an earlier one lets the model work while the earlier one's last calls
        end. What stops the run is raised by the filling's ``wait``.
        """
        try:
            calls = list(self._pack(self._fill_from_cache(slots)))
            if self._pool is not None:
                return Filling([self._pool.submit(self._guarded, *call) for call in calls])
            for call in calls:
                self._guarded(*call)
        except BaseException as error:  # noqa: BLE001 - raised where that of a call in another thread is
            self.halt.set()
            return Filling(error=error)
        return Filling()

    def _guarded(self, slots: list[Slot], tokens: list[int]) -> None:
        """One call, unless the run is over; an error that says nothing about a text ends it."""
        if self.halt.is_set():
            return
        try:
            self._call(slots, tokens)
        except BaseException:
            self.halt.set()
            raise

    def _fill_from_cache(self, slots: Sequence[Slot]) -> list[Slot]:
        if self._cache is None or not slots:
            return list(slots)
        for position, vector in self._cache.get_many(self._recipe.space, [slot.text for slot in slots]).items():
            slots[position].vector = vector
        return [slot for slot in slots if slot.vector is None]

    def _pack(self, slots: Sequence[Slot]) -> Iterator[tuple[list[Slot], list[int]]]:
        """Calls of at most the model's number of texts and tokens; texts of like length share a call."""
        info = self._embedder.info
        prefix = self._recipe.embedding.document_prefix
        texts = [prefix + slot.text for slot in slots]
        if self._exact:
            counts = [len(starts) for starts in self._embedder.token_starts(texts)]
        else:
            counts = [len(text) // CHARACTERS_PER_TOKEN + 1 for text in texts]
        batch: list[Slot] = []
        tokens: list[int] = []
        total = 0
        for slot, count in zip(slots, counts, strict=True):
            if batch and (len(batch) >= info.max_batch_texts or total + count > info.max_batch_tokens):
                yield batch, tokens
                batch, tokens, total = [], [], 0
            batch.append(slot)
            tokens.append(count)
            total += count
        if batch:
            yield batch, tokens

    def _call(self, slots: list[Slot], tokens: list[int]) -> None:
        """One call, bisected when the provider refuses it."""
        self._spend(len(slots), sum(tokens))
        prefix = self._recipe.embedding.document_prefix
        try:
            vectors = self._embedder.embed_documents([prefix + slot.text for slot in slots])
        except (EmbedderContract, BudgetExceeded):
            raise
        except Exception as error:
            if _stops_the_run(error):
                raise
            self._bisect(slots, tokens, error)
            return
        self._accept(slots, vectors)

    def _bisect(self, slots: list[Slot], tokens: list[int], error: Exception) -> None:
        if len(slots) == 1:
            slots[0].error = f"the model rejected the text: {_reason(error)}"
            self._count_failure(error)
            return
        middle = len(slots) // 2
        self._call(slots[:middle], tokens[:middle])
        self._call(slots[middle:], tokens[middle:])

    def _count_failure(self, error: Exception) -> None:
        self._failures_before_success += 1
        if not self._succeeded and self._failures_before_success >= HOPELESS:
            raise EmbedderError(
                f"the model refused the first {HOPELESS} texts one by one and accepted none: {_reason(error)}",
                hint="`regen doctor` tries the model with a plain text; nothing that is indexed was lost",
            ) from error

    def _accept(self, slots: list[Slot], vectors: Vectors) -> None:
        self._succeeded = True
        bad = unusable_rows(vectors)
        for row, reason in bad.items():
            slots[row].error = f"the model's vector {reason}"
        good = [row for row in range(len(slots)) if row not in bad] if bad else range(len(slots))
        kept = np.asarray(vectors[list(good)] if bad else vectors, dtype=np.float32)
        if self._recipe.embedding.normalize:
            kept = normalize(kept)
        kept = quantize(kept, self._recipe.embedding.precision)
        for row, vector in zip(good, kept, strict=True):
            slots[row].vector = vector
        if self._cache is not None and len(kept):
            self._cache.put_many(self._recipe.space, [slots[row].text for row in good], kept)

    def _spend(self, texts: int, tokens: int) -> None:
        """Count before the call, so that a budget stops before it is passed and a retry is paid for."""
        self.spent.pay(texts, tokens, tokens * self._embedder.info.price_per_million_tokens / 1e6)


def _stops_the_run(error: Exception) -> bool:
    """Errors of the connection or of regen itself say nothing about a text."""
    if isinstance(error, TextRejected):
        return False
    return isinstance(error, RegenError | ConnectionError | TimeoutError | MemoryError)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
