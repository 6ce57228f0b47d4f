"""Markdown: cuts follow the document's own structure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from numpy.typing import NDArray

from regen.core.boundaries import Counted
from regen.core.chunking import make_chunker
from regen.core.markdown import Markdown
from regen.core.recipe import Chunking

_TOKEN = re.compile(r"\w+|[^\w\s]")


def token_starts(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """A tokenizer of words and signs."""
    return [np.array([m.start() for m in _TOKEN.finditer(text)], dtype=np.int64) for text in texts]


def split(text: str, max_tokens: int) -> list[str]:
    """The chunk texts of one text."""
    (spans,) = make_chunker(Chunking("markdown", max_tokens), token_starts).split([text])
    return [text[span.start : span.end] for span in spans]


def words(count: int, start: int = 0) -> str:
    """So many words, all different."""
    return " ".join(f"w{n}" for n in range(start, start + count))


def test_sections_are_cut_before_headings_not_after() -> None:
    """A heading stays with its text, and the higher heading is the stronger boundary."""
    parts = [f"## Part {n}\n\n{words(12, n * 100)}" for n in range(3)]
    text = "# One\n\n" + "\n\n".join(parts) + "\n\n# Two\n\n" + "\n\n".join(parts)
    chunks = split(text, 40)
    assert len(chunks) == 4
    assert sum(chunk.startswith("# ") for chunk in chunks) == 2
    assert all(chunk.startswith("#") for chunk in chunks)


def test_a_heading_stays_with_a_paragraph_that_almost_fills_a_chunk() -> None:
    """Rather than leave a heading alone, the paragraph below it is cut at a sentence."""
    sentences = ". ".join(words(6, n * 10).capitalize() for n in range(6)) + "."
    chunks = split(f"{words(30)}\n\n# The heading of it all\n\n{sentences}", 42)
    assert len(chunks) == 3
    assert chunks[1].startswith("# The heading of it all\n\nW0 w1")


def test_setext_headings_and_breaks_begin_a_chunk() -> None:
    """An underlined line is a heading; a thematic break opens what follows it."""
    text = f"{words(20)}\n\nTitle\n=====\n\n{words(20, 50)}\n\n***\n\n{words(20, 80)}"
    assert [chunk.split()[0] for chunk in split(text, 26)] == ["w0", "Title", "***"]


@pytest.mark.parametrize("mark", ["```", "~~~~"])
def test_a_fence_that_fits_is_never_cut(mark: str) -> None:
    """Blank lines, headings and rules inside code are code."""
    code = f"{mark}py\na = 1\n\n# no heading\n\n---\n\nb = 2\n{mark}"
    for before in range(1, 30):
        text = f"{words(before)}\n\n{code}\n\n{words(20, 100)}"
        assert any(code in chunk for chunk in split(text, 24))


def test_a_fence_that_does_not_fit_is_cut_at_lines() -> None:
    """Code is cut between lines, never within one that fits."""
    lines = [f"value{n} = call(a, b)" for n in range(30)]
    chunks = split("```\n" + "\n".join(lines) + "\n```", 40)
    assert len(chunks) > 5
    assert {line for chunk in chunks for line in chunk.splitlines()} == {"```", *lines}


def test_a_list_is_cut_at_items_and_a_table_at_rows() -> None:
    """The parts of a list or a table stay whole."""
    items = [f"- item {n}: {words(8, n * 10)}\n\n  {words(3, n)}" for n in range(6)]
    rows = [f"| {n} | {words(6, n * 10)} |" for n in range(8)]
    chunks = split("\n".join(items), 36)
    assert len(chunks) > 1
    assert all(chunk.startswith("- item") for chunk in chunks)
    chunks = split("| a | b |\n|---|---|\n" + "\n".join(rows), 40)
    assert len(chunks) > 1
    assert all(line.startswith("|") and line.endswith("|") for chunk in chunks for line in chunk.splitlines())


def test_what_a_colon_announces_stays_with_it() -> None:
    """A lead-in and its block part only if they must."""
    text = "\n\n".join(f"- Do {n} so:\n\n`run {words(5, n * 10)}`" for n in range(6))
    chunks = split(text, 40)
    assert len(chunks) > 1
    assert all(chunk.startswith("- Do") for chunk in chunks)


def blocks_of(text: str) -> tuple[set[int], set[int]]:
    """Where top-level blocks begin, and which of them are headings, by this project's scanner."""
    counted = Counted(text, np.arange(len(text), dtype=np.int64))
    markdown = Markdown(counted)
    cuts = markdown.blocks(counted, 0, len(text))
    headings = set(cuts.positions[cuts.levels >= 10].tolist())
    return {0, *cuts.positions.tolist(), *markdown.glued.tolist()}, headings


def oracle(text: str) -> tuple[set[int], set[int], list[tuple[int, int]]]:
    """The same and the extent of fences, by a full CommonMark parser."""
    lines = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    tokens = [token for token in MarkdownIt("commonmark").enable("table").parse(text) if token.map and token.level == 0]
    starts = {lines[token.map[0]] for token in tokens if token.map}
    headings = {lines[token.map[0]] for token in tokens if token.map and token.type == "heading_open"}
    fences = [(lines[token.map[0]], lines[token.map[1]]) for token in tokens if token.map and token.type == "fence"]
    return starts, headings, fences


_BLOCKS = st.sampled_from(
    [
        "# Head",
        "### Head three",
        "Under\n=====",
        "Under two\n---",
        "A paragraph\nof two lines",
        "Another: with a colon:",
        "- a\n- b\n  - c",
        "- loose\n\n  more\n\n- items",
        "1. one\n2. two",
        "* x\n\n  ```\n  # code\n\n  more\n  ```",
        "```py\n# code\n\n- no list\n```",
        "~~~\n```\n~~~",
        "    indented\n\n    # code",
        "> quote\n> # in it\n>\n> more",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "<div>\n# html\n</div>",
        "<!-- a\n\n# comment -->",
        "***",
    ]
)


@given(st.lists(_BLOCKS, min_size=1, max_size=12))
@settings(max_examples=300, deadline=None)
def test_headings_and_fences_are_those_of_a_full_parser(blocks: list[str]) -> None:
    """Every heading is found, no other line is taken for one, and no block begins inside a fence."""
    text = "\n\n".join(blocks) + "\n"
    starts, headings = blocks_of(text)
    true_starts, true_headings, fences = oracle(text)
    assert true_headings <= starts
    assert headings <= true_headings
    assert starts - {0} <= true_starts
    assert all(not begin < start < end for begin, end in fences for start in starts)


def test_real_pages_have_the_structure_of_a_full_parser(tldr_pages: list[Path]) -> None:
    """The same on pages that people wrote."""
    seen = 0
    for page in tldr_pages[::20]:
        text = page.read_text(encoding="utf-8")
        starts, headings = blocks_of(text)
        true_starts, true_headings, _ = oracle(text)
        assert headings <= true_headings <= starts <= true_starts | {0}, page.name
        seen += len(true_starts)
    assert seen > 1000


def test_real_pages_lose_nothing(tldr_pages: list[Path]) -> None:
    """Cut small, real pages keep every character, in order."""
    texts = [page.read_text(encoding="utf-8") for page in tldr_pages]
    for text, spans in zip(texts, make_chunker(Chunking("markdown", 32), token_starts).split(texts), strict=True):
        cut = "".join(text[span.start : span.end] for span in spans)
        assert "".join(cut.split()) == "".join(text.split())
        assert all(a.end <= b.start for a, b in pairwise(spans))
