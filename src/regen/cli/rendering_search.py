"""Search results as lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from regen.cli.layout import hint, labelled, listed
from regen.cli.quantities import count, counted
from regen.core.results import Explanation, Hit, Reranked, SearchResult

SNIPPET_LENGTH = 240
_SHOWN_KEYS = 6
_MODES = {"hybrid": "hybrid: by vectors and by words, fused by rank", "keyword": "keyword: by words alone"}


def search_lines(result: SearchResult, *, explain: bool = False, public_only: bool = False) -> Iterator[Text]:
    """The hits, best first: rank, score, document, the beginning of the chunk, its metadata."""
    if not result.hits:
        yield Text("No hits.", style="bold")
        dropped = result.explanation.dropped
        if public_only:
            yield hint("only public documents were searched; say who asks with --as WHO")
        if dropped:
            yield hint(f"the fence dropped {_dropped(dropped)}; more with --explain")
    for rank, hit in enumerate(result.hits, start=1):
        yield from _hit_lines(rank, hit)
    if explain:
        yield from _explanation_lines(result)


def _hit_lines(rank: int, hit: Hit) -> Iterator[Text]:
    yield Text.assemble((f"{rank:>2}  ", "dim"), (f"{hit.score:6.3f}  ", "cyan"), (hit.doc_id, "bold"))
    yield Text.assemble("            ", snippet(hit.text))
    metadata = _metadata(hit.metadata)
    if metadata:
        yield Text.assemble("            ", (metadata, "dim"))


def snippet(text: str, length: int = SNIPPET_LENGTH) -> str:
    """The beginning of a text on one line, cut at a word."""
    flat = " ".join(text[: length * 4].split())
    if len(flat) <= length:
        return flat
    return flat[:length].rsplit(" ", 1)[0] + " …"


def _metadata(metadata: Mapping[str, Any]) -> str:
    shown = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in metadata.items()
        if isinstance(value, str | int | float | bool)
    ]
    return snippet(listed(shown[:_SHOWN_KEYS]), 100)


def _explanation_lines(result: SearchResult) -> Iterator[Text]:
    explanation = result.explanation
    yield Text("")
    yield labelled("route", f"{explanation.route}, generation {result.generation}, space {result.space}")
    if explanation.mode != "vector":
        yield labelled("mode", _MODES.get(explanation.mode, explanation.mode))
    yield labelled("time", _times(explanation))
    rounds = counted(explanation.rounds, "round")
    yield labelled("candidates", f"{count(explanation.candidates)} from the store in {rounds}")
    yield labelled("fence", f"dropped {_dropped(explanation.dropped)}" if explanation.dropped else "dropped nothing")
    if explanation.fallback is not None:
        yield labelled("fallback", explanation.fallback)
    if explanation.rerank is not None:
        yield labelled("rerank", _reranked(explanation.rerank))


def _times(explanation: Explanation) -> str:
    parts = (("embed", explanation.embed_ms), ("store", explanation.store_ms), ("fence", explanation.fence_ms))
    return listed(f"{name} {milliseconds:.1f} ms" for name, milliseconds in parts)


def _reranked(done: Reranked) -> str:
    if done.skipped is not None:
        return f"{done.model}: not reranked: {done.skipped}"
    return f"{done.model}: {counted(done.texts, 'text')} in {done.milliseconds:.1f} ms"


def _dropped(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count(number)} ({reason.replace('_', ' ')})" for reason, number in dropped.items())
