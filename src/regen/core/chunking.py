"""Chunkers: a text becomes spans that fit the model, and an edit changes only the spans near it.

All kinds work alike: tiers of candidate boundaries, from coarse to fine (:mod:`regen.core.boundaries`), then packing by
content (:mod:`regen.core.packing`). A kind is nothing but its list of tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.core.boundaries import Counted, Tier, coarse, token_cuts, word_cuts
from regen.core.chunks import Span
from regen.core.markdown import Markdown
from regen.core.packing import cut
from regen.core.prose import paragraph_cuts, sentence_cuts, sentence_starts
from regen.core.recipe import Chunking, TextTemplate
from regen.core.semantic import EmbedTexts, semantic_tiers
from regen.core.sourcecode import definition_cuts, line_cuts
from regen.errors import ConfigError

TokenStarts: TypeAlias = Callable[[Sequence[str]], list[NDArray[np.int64]]]
"""For each text the character offsets at which its tokens start, ascending (``Embedder.token_starts``)."""

KINDS: Final = ("tokens", "sentences", "markdown", "code", "semantic", "whole")

_OWN_TOKENS: Final = 2
"""What a tokenizer may add to a text of its own accord, for example the word mark that Llama's puts first."""

_TiersOf: TypeAlias = Callable[[Sequence[Counted]], list[list[Tier]]]


class Chunker(Protocol):
    """Cuts texts into spans."""

    def split(self, texts: Sequence[str]) -> list[list[Span]]:
        """For each text its spans, ascending.

        Every character that is no white space lies in at least one span, in exactly one without overlap. A text of
        white space only has the one span (0, 0), so that a template which adds a title still embeds it.
        """
        ...


def make_chunker(settings: Chunking, token_starts: TokenStarts, embed: EmbedTexts | None = None) -> Chunker:
    """The chunker that settings ask for.

    ``max_tokens`` bounds a chunk's own text, in tokens of the document as a whole; what the template adds is not
    counted. A text that fits is one chunk, whatever the kind; ``whole`` never asks for tokens. Raises ConfigError for
    an unknown kind, and for "semantic" without ``embed``.
    """
    if settings.kind not in KINDS:
        raise ConfigError(f"chunking.kind is {settings.kind!r}", hint=f"valid are {', '.join(KINDS)}")
    if settings.kind == "whole":
        return _Whole()
    if settings.kind == "semantic":
        if embed is None:
            raise ConfigError(
                'chunking.kind is "semantic", which compares sentence vectors, but no embedder was given',
                hint="name an embedding model, or choose sentences or markdown",
            )
        return _Structured(settings, token_starts, partial(_semantic, embed=embed))
    tiers_of: dict[str, _TiersOf] = {
        "tokens": lambda documents: [[] for _ in documents],
        "sentences": lambda documents: [[paragraph_cuts, sentence_cuts] for _ in documents],
        "markdown": lambda documents: [Markdown(document).tiers for document in documents],
        "code": lambda documents: [[definition_cuts, line_cuts] for _ in documents],
    }
    return _Structured(settings, token_starts, tiers_of[settings.kind])


def _semantic(documents: Sequence[Counted], embed: EmbedTexts) -> list[list[Tier]]:
    return [[tier] for tier in semantic_tiers(documents, embed)]


def pieces(
    text: str, spans: Sequence[Span], template: TextTemplate, values: tuple[str, ...]
) -> list[tuple[str, str, Span]]:
    """The (chunk text, embedded text, span) of each span, stripped of white space and with the span tight around it.

    ``values`` are those of ``template.values``. A piece whose embedded text is empty is left out.
    """
    found = []
    for span in spans:
        raw = text[span.start : span.end]
        chunk = raw.strip()
        embedded = template.render(chunk, values)
        if embedded:
            found.append((chunk, embedded, span if len(chunk) == len(raw) else _tight(raw, chunk, span.start)))
    return found


def _tight(raw: str, chunk: str, start: int) -> Span:
    start += len(raw) - len(raw.lstrip()) if chunk else 0
    return Span(start, start + len(chunk))


def _one(text: str) -> list[Span]:
    return [Span(0, 0 if text.isspace() else len(text))]


class _Whole:
    """One span a text."""

    def split(self, texts: Sequence[str]) -> list[list[Span]]:
        return [_one(text) for text in texts]


class _Structured:
    """Cuts what does not fit by a list of tiers, always ended by words and tokens."""

    def __init__(self, settings: Chunking, token_starts: TokenStarts, tiers_of: _TiersOf) -> None:
        self._max_tokens = settings.max_tokens
        self._overlap = settings.overlap
        self._limit = settings.max_tokens - settings.overlap
        self._token_starts = token_starts
        self._tiers_of = tiers_of
        self._last_tiers: list[Tier] = [
            coarse(word_cuts, self._limit),
            word_cuts,
            coarse(token_cuts, self._limit),
            token_cuts,
        ]

    def split(self, texts: Sequence[str]) -> list[list[Span]]:
        spans = [_one(text) for text in texts]
        uncertain = [index for index, text in enumerate(texts) if not self._surely_fits(text)]
        if not uncertain:
            return spans
        starts = self._token_starts([texts[index] for index in uncertain])
        long = [
            (index, Counted(texts[index], found))
            for index, found in zip(uncertain, starts, strict=True)
            if len(found) > self._max_tokens and spans[index][0].end
        ]
        if not long:
            return spans
        for (index, counted), tiers in zip(long, self._tiers_of([counted for _, counted in long]), strict=True):
            spans[index] = self._spans(counted, cut(counted, [*tiers, *self._last_tiers], self._limit))
        return spans

    def _surely_fits(self, text: str) -> bool:
        """Whether a text fits whatever the tokenizer: a token covers a character, and nothing expands ASCII."""
        return len(text) + _OWN_TOKENS <= self._max_tokens and text.isascii()

    def _spans(self, counted: Counted, edges: list[int]) -> list[Span]:
        text = counted.text
        spans = []
        for start, end in pairwise(edges):
            raw = text[start:end]
            chunk = raw.strip()
            if chunk:
                spans.append(_tight(raw, chunk, start))
        return _overlapping(counted, spans, self._overlap) if self._overlap else spans


def _overlapping(counted: Counted, spans: list[Span], overlap: int) -> list[Span]:
    """Let each span but the first begin up to ``overlap`` tokens earlier, yet after the one before it."""
    own = np.array([span.start for span in spans], dtype=np.int64)
    first = np.maximum(counted.behind(own[1:]) - overlap, np.searchsorted(counted.starts, own[:-1], side="right"))
    reach = np.minimum(counted.starts[np.minimum(first, len(counted.starts) - 1)], own[1:])
    return [spans[0]] + [
        Span(_overlap_start(counted.text, earliest, span.start), span.end)
        for earliest, span in zip(reach.tolist(), spans[1:], strict=True)
    ]


def _overlap_start(text: str, earliest: int, start: int) -> int:
    """Where an overlap begins: at a sentence, if that leaves half of it or more, else at a word, else at a token."""
    sentence = next((at for at in sentence_starts(text, max(earliest - 1, 0), start) if at >= earliest), start)
    if start - sentence >= (start - earliest) / 2:
        return sentence
    at = earliest
    while at < start and (text[at].isspace() or (at and not text[at - 1].isspace())):
        at += 1
    return at if at < start else earliest
