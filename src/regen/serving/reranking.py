"""Reranking: the best candidates of any route put into the order that a reranker gives them, within a stated time.

The hits that arrive here have passed the fence; reranking only changes their order, so nothing comes back that was
dropped. Whatever goes wrong, a search is answered: in the order that it had, and it says so (I10).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from regen.core.documents import canonical_json, digest
from regen.core.pace import Pace
from regen.core.results import Hit, Reranked, RerankStats, SearchResult
from regen.errors import ConfigError, RegenError
from regen.ports.reranking import ClosingReranker, Reranker, Scores, SpaceReranker
from regen.serving.deadline import Attempt
from regen.serving.rerank_record import Outcome, RerankRecord
from regen.spaces.merge import distinct

FEWEST: Final = 2
"""Fewer texts have no order."""
STRANDED: Final = 2
"""So many calls that missed their deadline and still run mean that the next one would miss it too."""
PROBE_EVERY: Final = 20
"""When nothing fits the budget any more, every so many searches one tries a few texts in the background."""
WARMING: Final = "A sentence of ordinary length, as a document may hold it, to see how long this model takes."


@dataclass(frozen=True, slots=True)
class RerankSettings:
    """How far reranking goes.

    At most ``depth`` candidates are put to the reranker, as many as it should manage in ``budget_ms``; the ``top`` best
    of them take the first places. With ``distinct`` each document, and each text, takes one of these places at most.
    """

    depth: int = 50
    top: int = 10
    budget_ms: float = 80.0
    distinct: bool = True

    def __post_init__(self) -> None:
        if self.depth < FEWEST:
            raise ConfigError(f"rerank.depth is {self.depth}", hint="at least 2: one text has no order; 50 is usual")
        if self.top < 1:
            raise ConfigError(f"rerank.top is {self.top}", hint="at least 1; 10 is usual")
        if not self.budget_ms > 0:
            raise ConfigError(f"rerank.budget_ms is {self.budget_ms}", hint="milliseconds above 0; 80 is usual")

    def fingerprint(self, model: str, options: object) -> str:
        """What a judgement of a reranker is about: the reranker and how it is used, not how long it may take."""
        return digest(canonical_json((model, repr(options), self.depth, self.top, self.distinct))).hex()[:16]


@dataclass(slots=True)
class Reranking:
    """Reranks results. Safe for threads; ``render`` gives the text that a hit is judged by."""

    reranker: Reranker
    settings: RerankSettings
    record: RerankRecord
    render: Callable[[Hit], str] = lambda hit: hit.text
    _pace: Pace = field(default_factory=Pace)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _warm: bool = False
    _warming: bool = False
    _stranded: int = 0
    _skipped: int = 0

    def candidates(self, k: int) -> int:
        """How many hits a search must ask for, so that there is something to choose from."""
        return k if self.record.off else max(k, self.settings.depth)

    def rerank(self, query: str, result: SearchResult, k: int) -> SearchResult:
        """The k best hits of a result. When the reranker fails or is slow, in the order that they had."""
        reason, is_fallback = self._reason_to_skip(result)
        depth = 0 if reason else self._depth(result.hits)
        if not reason and depth < FEWEST:
            reason, is_fallback = self._too_little(result.hits)
        if reason:
            return self._left(result, k, reason, "skipped", told=is_fallback)
        head, texts = self._head(result.hits, depth)
        attempt = self._begin(lambda: self.reranker.rerank(query, texts), len(texts))
        if not attempt.wait(self.settings.budget_ms / 1e3):
            slow = f"{len(texts)} texts took more than {self.settings.budget_ms:g} ms"
            return self._left(result, k, slow, "timeouts", told=True)
        if attempt.result is None:
            return self._left(result, k, f"the reranker failed: {_message(attempt.error)}", "failures", told=True)
        self.record.note("reranked")
        ordered = place(result.hits, head, attempt.result, self.settings)
        done = Reranked(self.reranker.name, len(texts), attempt.milliseconds)
        return replace(result, hits=ordered[:k], explanation=replace(result.explanation, rerank=done))

    def ordered(self, query: str, hits: Sequence[Hit], depth: int) -> list[Hit]:
        """Hits as reranking ``depth`` texts orders them, however long that takes: for judging.

        Raises what the reranker raises.
        """
        head, texts = self._head(hits, depth)
        return place(hits, head, self.reranker.rerank(query, texts), self.settings)

    def affordable(self, query: str, hits: Sequence[Hit]) -> int:
        """How many of these hits fit the budget, found by calls of more and more texts. Raises as the reranker does."""
        texts, count = [self.render(hit) for hit in hits[: self.settings.depth]], FEWEST
        while texts:
            count = min(2 * count, len(texts))
            started = time.perf_counter()
            self.reranker.rerank(query, texts[:count])
            milliseconds = (time.perf_counter() - started) * 1e3
            with self._lock:
                self._pace.late(count, milliseconds)
            if count == len(texts) or milliseconds > 2 * self.settings.budget_ms:
                break
        return self._depth(hits)

    def warm(self) -> None:
        """Load the model and take a first measure, outside any search: a process of one search need not miss its time.

        Raises what the reranker raises.
        """
        self.reranker.rerank(WARMING, [WARMING])
        attempt = Attempt(lambda: self.reranker.rerank(WARMING, [f"{number}. {WARMING}" for number in range(8)]))
        attempt.join()
        with self._lock:
            self._warm = True
            self._pace.kept(8, attempt.milliseconds)

    def stats(self) -> RerankStats:
        """What all processes have counted, and how many texts this one takes to fit the budget."""
        counts, off = self.record.total(), self.record.off
        with self._lock:
            depth = self._pace.fits(self.settings.budget_ms, self.settings.depth)
        judged = "it helps on the judged queries" if self.record.judged else "it was never judged with these settings"
        return RerankStats(
            model=self.reranker.name,
            active=off is None,
            reason=off or judged,
            searches=counts.reranked + counts.skipped + counts.timeouts + counts.failures,
            reranked=counts.reranked,
            skipped=counts.skipped,
            timeouts=counts.timeouts,
            failures=counts.failures,
            last_error=counts.last_error,
            failed_at=counts.failed_at,
            depth=depth,
            budget_ms=self.settings.budget_ms,
        )

    def close(self) -> None:
        """Write counts and release the reranker. Idempotent."""
        self.record.flush()
        if isinstance(self.reranker, ClosingReranker):
            self.reranker.close()

    # ── whether, and how far ────────────────────────────────────────────────────────────────────────────────

    def _reason_to_skip(self, result: SearchResult) -> tuple[str, bool]:
        """Why there is nothing to do, empty where there is; and whether that is a fallback, not a decision."""
        if off := self.record.off:
            return f"switched off: {off}", False
        space = self.reranker.space if isinstance(self.reranker, SpaceReranker) else None
        if space is not None and all(hit.space == space for hit in result.hits):
            return "the hits are in the order of this space already", False
        if len(result.hits) < FEWEST:
            return "there are fewer than two hits", False
        with self._lock:
            if self._warming and not self._warm:
                return "the reranker's first call has not ended yet", True
            if self._stranded >= STRANDED:
                return f"{self._stranded} calls that missed their deadline are still under way", True
        return "", False

    def _depth(self, hits: Sequence[Hit]) -> int:
        with self._lock:
            return self._pace.fits(self.settings.budget_ms, min(self.settings.depth, len(hits)))

    def _too_little(self, hits: Sequence[Hit]) -> tuple[str, bool]:
        """Nothing fits: now and then try a few texts, waited for by nobody, so that better times are noticed."""
        with self._lock:
            probe, self._skipped = self._skipped % PROBE_EVERY == 0, self._skipped + 1
        if probe:
            texts = [self.render(hit) for hit in hits[:FEWEST]]
            self._begin(lambda: self.reranker.rerank(texts[0], texts), len(texts)).wait(0.0)
        return f"{self.settings.budget_ms:g} ms allow fewer than two texts", True

    def _head(self, hits: Sequence[Hit], depth: int) -> tuple[list[int], list[str]]:
        """For the first hits the number of their text, and these different texts, at most ``depth``."""
        numbers: dict[str, int] = {}
        head = []
        for hit in hits[: self.settings.depth]:
            text = self.render(hit)
            if text not in numbers and len(numbers) == depth:
                break
            head.append(numbers.setdefault(text, len(numbers)))
        return head, list(numbers)

    # ── the call ────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, call: Callable[[], Scores], texts: int) -> Attempt[Scores]:
        with self._lock:
            first = not self._warm
            self._warming = True

        def ended(attempt: Attempt[Scores], given_up: bool) -> None:
            self._learn(attempt, texts, given_up=given_up, first=first)

        def given_up(attempt: Attempt[Scores]) -> None:
            with self._lock:
                self._stranded += 1
                if not first:  # what the first call takes, loading included, says nothing about the next
                    self._pace.missed(texts, attempt.milliseconds)

        return Attempt(call, ended, given_up)

    def _learn(self, attempt: Attempt[Scores], texts: int, *, given_up: bool, first: bool) -> None:
        with self._lock:
            self._stranded -= given_up
            self._warming = False
            self._warm = self._warm or attempt.error is None
            if attempt.error is not None or (first and given_up):
                return
            if attempt.milliseconds <= self.settings.budget_ms:
                self._pace.kept(texts, attempt.milliseconds)
            else:
                self._pace.late(texts, attempt.milliseconds)

    def _left(self, result: SearchResult, k: int, reason: str, outcome: Outcome, *, told: bool) -> SearchResult:
        """The result as it was, with why; ``told`` tells it as a fallback, beside that of the route."""
        self.record.note(outcome, reason if outcome in {"timeouts", "failures"} else "")
        before = result.explanation
        fallback = "; ".join(filter(None, (before.fallback, f"not reranked: {reason}"))) if told else before.fallback
        explanation = replace(before, rerank=Reranked(self.reranker.name, skipped=reason), fallback=fallback)
        return replace(result, hits=result.hits[:k], explanation=explanation)


def _message(error: BaseException | None) -> str:
    return error.message if isinstance(error, RegenError) else f"{type(error).__name__}: {error}"


def place(hits: Sequence[Hit], head: Sequence[int], scores: Scores, settings: RerankSettings) -> list[Hit]:
    """Hits in their new order: the best of the head by the reranker's scores, then all others as they were.

    ``head`` gives for each of the first hits the number of its text, ``scores`` each text's score. Equal scores keep
    their order. Every hit is there once: those of a document or text that has its place already come with the others.
    """
    order = sorted(range(len(head)), key=lambda at: -float(scores[head[at]]))
    if settings.distinct:
        order = [order[at] for at in distinct([hits[at].doc_id for at in order], [hits[at].text for at in order])]
    first = order[: settings.top]
    placed = [replace(hits[at], score=float(scores[head[at]]), store_score=hits[at].score) for at in first]
    taken = set(first)
    return [*placed, *(hit for at, hit in enumerate(hits) if at not in taken)]
