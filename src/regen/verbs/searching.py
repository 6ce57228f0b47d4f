"""The verbs of who searches: search, flag, and what reranking does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regen.core.documents import Principal, Unrestricted
from regen.core.results import RerankStats, SearchResult
from regen.errors import ConfigError, RegenError
from regen.ports import Vector
from regen.ports.catalog import Catalog
from regen.ports.keywords import SearchMode
from regen.serving.reading import ReadSide, ask

if TYPE_CHECKING:
    from regen.engine.writing import OnProgress
    from regen.evaluation.reranking import RerankJudgement
    from regen.quality.gating import QualitySide
    from regen.serving.reranking import Reranking


class SearchVerbs:
    """What reads, and changes nothing but counts."""

    alias: str
    _catalog: Catalog
    _reader: ReadSide

    @property
    def _quality(self) -> QualitySide:
        raise NotImplementedError

    def search(
        self,
        query: str | Sequence[float] | Vector,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        principals: Iterable[Principal] | Unrestricted | None = None,
        generation: int | None = None,
        space: str | None = None,
        key: str | None = None,
        rerank: bool = True,
        mode: SearchMode = "vector",
    ) -> SearchResult:
        """The k best chunks for a text, or for a vector of the given ``space``.

        ``mode`` is "vector", "keyword" (by the words of the text) or "hybrid": both lists, fused by rank, where the
        store searches by words (:class:`~regen.ports.keywords.KeywordStore`); else ConfigError.

        ``key`` names the caller (a user, a session): during a rollout the same side always answers the same caller.
        ``rerank=False`` leaves a configured reranker out.

        Without ``principals`` public documents only. Raises NotFound before the first sync, SpaceMismatch, ConfigError.
        """
        return self._reader.search(ask(query, k, where, principals, generation, space, key, rerank=rerank, mode=mode))

    def flag(self, ids: Iterable[str], *, flagged: bool = True) -> int:
        """Mark documents as high value or badly found: a backfill takes them before the rest. How many are known."""
        return self._catalog.flag(list(ids), flagged=flagged)

    def warm_reranker(self) -> None:
        """Load the reranker's model now, so that the first search need not miss its time; nothing without one.

        Raises what the reranker raises.
        """
        reranking = self._reader.reranking
        if reranking is not None and reranking.record.off is None:
            reranking.warm()

    def rerank_stats(self) -> RerankStats | None:
        """How searches fared with the reranker, in all processes; None where none is configured."""
        reranking = self._reader.reranking
        return None if reranking is None else reranking.stats()

    def judge_reranker(self, *, progress: OnProgress | None = None) -> RerankJudgement:
        """Compare searches with and without the reranker on the judged collections, and keep what was found.

        A reranker that is not surely better is off from then on, in every process, until it is judged again or its
        settings change. Raises ConfigError without a reranker or judged collections, EvaluationError, RerankerError.
        """
        from regen.quality.reranking import judge_reranker  # noqa: PLC0415 - statistics are heavy: only who measures

        return judge_reranker(self._quality, self._require_reranking(), progress=progress)

    def _judge_reranker_anew(self, progress: OnProgress | None = None) -> str | None:
        """Judge the reranker where it can be and was not, as it is configured and on what is live; what was found.

        One that fails for every query is no reason to fail: searches are answered without it and say so.
        """
        reranking, live = self._reader.reranking, self._catalog.route(self.alias).live
        settings = self._quality.settings
        if reranking is None or live is None or not settings.judged() or not settings.measures:
            return None
        if reranking.record.judged_on == live:
            return None
        try:
            found = self.judge_reranker(progress=progress)
        except RegenError as error:
            return f"the reranker could not be judged: {error.message}"
        return f"reranking by {found.model} {'helps' if found.helps else 'is switched off'}: {found.reason}"

    def _require_reranking(self) -> Reranking:
        if self._reader.reranking is None:
            raise ConfigError(
                "no reranker is configured", hint="write `rerank: {model: cross-encoder/ms-marco-MiniLM-L6-v2}`"
            )
        return self._reader.reranking

    def _reranking_notes(self) -> list[str]:
        """What ``status`` says of reranking; nothing where all is well or none is configured."""
        stats = self.rerank_stats()
        if stats is None:
            return []
        told = [] if stats.active else [f"reranking by {stats.model} is off: {stats.reason}"]
        if stats.timeouts or stats.failures:
            last = f"; the last: {stats.last_error}" if stats.last_error else ""
            told.append(
                f"reranking by {stats.model}: of {stats.searches:,} searches {stats.timeouts:,} ran out of time and "
                f"{stats.failures:,} failed, and were answered in the store's order{last}"
            )
        return told
