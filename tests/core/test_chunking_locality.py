"""The point of it all: an edit changes the chunks near it and no others."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from regen.core.chunking import make_chunker
from regen.core.recipe import Chunking

_TOKEN = re.compile(r"\w+|[^\w\s]")


def token_starts(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """A tokenizer of words and signs."""
    return [_starts(text) for text in texts]


@lru_cache(maxsize=4096)
def _starts(text: str) -> NDArray[np.int64]:
    return np.array([m.start() for m in _TOKEN.finditer(text)], dtype=np.int64)


def bags(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of hashed words, equal everywhere."""
    return np.stack([_bag(text) for text in texts])


@lru_cache(maxsize=100_000)
def _bag(text: str) -> NDArray[np.float32]:
    return np.bincount([sum(word.encode()) % 64 for word in text.split()], minlength=64).astype(np.float32)


def chunk_texts(texts: Sequence[str], chosen: Chunking) -> list[list[str]]:
    """The chunk texts of each text."""
    all_spans = make_chunker(chosen, token_starts, bags).split(texts)
    return [[text[span.start : span.end] for span in spans] for text, spans in zip(texts, all_spans, strict=True)]


def changed(before: Sequence[str], after: Sequence[str], chosen: Chunking) -> list[int]:
    """For each pair of texts, how many chunk texts of the second are not among those of the first."""
    pairs = zip(chunk_texts(before, chosen), chunk_texts(after, chosen), strict=True)
    return [sum((Counter(new) - Counter(old)).values()) for old, new in pairs]


def fill(texts: Sequence[str], chosen: Chunking) -> float:
    """The mean size of a chunk as a share of ``max_tokens``."""
    chunks = [chunk for chunks in chunk_texts(texts, chosen) for chunk in chunks]
    return float(np.mean([len(starts) for starts in token_starts(chunks)])) / chosen.max_tokens


# ── made documents, seeded ──────────────────────────────────────────────────────────────────────────────────


def paragraph(rng: random.Random) -> str:
    """Three to nine sentences of invented words."""
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 8))) for _ in range(rng.randint(25, 110))]
    for at in range(0, len(words), rng.randint(8, 16)):
        words[at] = words[at].capitalize()
        if at:
            words[at - 1] += "."
    return " ".join(words) + "."


def replaced(parts: list[str], at: int, rng: random.Random) -> list[str]:
    """Another paragraph in place of one."""
    return [*parts[:at], paragraph(rng), *parts[at + 1 :]]


def inserted(parts: list[str], at: int, rng: random.Random) -> list[str]:
    """One paragraph more."""
    return [*parts[:at], paragraph(rng), *parts[at:]]


def removed(parts: list[str], at: int, rng: random.Random) -> list[str]:
    """One paragraph less."""
    return [*parts[:at], *parts[at + 1 :]]


def touched(parts: list[str], at: int, rng: random.Random) -> list[str]:
    """One word more."""
    words = parts[at].split(" ")
    words.insert(rng.randrange(len(words)), "inserted")
    return [*parts[:at], " ".join(words), *parts[at + 1 :]]


Edit = Callable[[list[str], int, random.Random], list[str]]
EDITS: list[Edit] = [replaced, inserted, removed, touched]


@cache
def edited_documents(edit: Edit) -> tuple[list[str], list[str]]:
    """60 documents of 40 paragraphs, and the same with one paragraph edited."""
    rng = random.Random(11)
    before, after = [], []
    for _ in range(60):
        parts = [paragraph(rng) for _ in range(40)]
        before.append("\n\n".join(parts))
        after.append("\n\n".join(edit(parts, rng.randrange(40), rng)))
    return before, after


@pytest.mark.parametrize("max_tokens", [128, 256, 512])
@pytest.mark.parametrize("kind", ["tokens", "sentences", "markdown", "code", "semantic"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_paragraph_changes_few_chunks(edit: Edit, kind: str, max_tokens: int) -> None:
    """On the mean of 60 edits less than 2 chunk texts change (3 where every word or sentence is a boundary)."""
    counts = changed(*edited_documents(edit), Chunking(kind, max_tokens))
    assert 0.3 < np.mean(counts) < BOUND[kind]
    assert max(counts) <= 8


BOUND = {"markdown": 2.0, "sentences": 2.0, "code": 2.0, "tokens": 3.0, "semantic": 3.0}


@pytest.mark.parametrize("kind", ["tokens", "sentences", "markdown", "code", "semantic"])
def test_what_changes_lies_near_the_edit(kind: str) -> None:
    """An edit at the very start of a document leaves its second half as it is, and the other way round."""
    before, _ = edited_documents(touched)
    settings = Chunking(kind, 256)
    prefixed = [f"Something new stands here. {text}" for text in before]
    suffixed = [f"{text} Something new stands here." for text in before]
    originals = chunk_texts(before, settings)
    for old, first, last in zip(
        originals, chunk_texts(prefixed, settings), chunk_texts(suffixed, settings), strict=True
    ):
        half = len(old) // 2
        assert old[half:] == first[len(first) - len(old) + half :]
        assert old[:half] == last[:half]


@pytest.mark.parametrize("kind", ["tokens", "sentences", "markdown", "code", "semantic"])
@pytest.mark.parametrize("max_tokens", [256, 512])
def test_chunks_are_well_filled(kind: str, max_tokens: int) -> None:
    """Locality is not bought with small chunks."""
    before, _ = edited_documents(touched)
    assert fill(before, Chunking(kind, max_tokens)) > 0.65


@pytest.mark.parametrize("kind", ["tokens", "sentences", "markdown"])
def test_repeated_paragraphs_stay_local(kind: str) -> None:
    """Where all text is alike no boundary is better than another; still an edit changes little."""
    parts = ["This is one and the same paragraph, again and again."] * 2000
    before = "\n\n".join(parts)
    edits = [[*parts[:at], "And now for something else.", *parts[at:]] for at in (1, 700, 1500, 1999)]
    counts = changed([before] * 4, ["\n\n".join(edit) for edit in edits], Chunking(kind, 128))
    assert all(1 <= count <= 4 for count in counts)


# ── real documents ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def long_documents(shared_data: Path) -> dict[str, list[str]]:
    """L1: 500 documents of 20 paragraphs; L2: one word replaced in each; L3: one sentence inserted in each."""
    folder = shared_data.parent / "peers" / "data"
    if not (folder / "L1.jsonl.gz").exists():
        pytest.skip(f"the edited long documents are not in {folder}")
    found = {}
    for name in ("L1", "L2", "L3"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            found[name] = [json.loads(line)["text"] for line in lines]
    return found


@pytest.mark.parametrize(("max_tokens", "bound"), [(128, 1.1), (256, 1.6), (512, 1.6)])
@pytest.mark.parametrize("kind", ["sentences", "markdown"])
@pytest.mark.parametrize("edited", ["L2", "L3"])
def test_real_edits_change_little(
    long_documents: dict[str, list[str]], edited: str, kind: str, max_tokens: int, bound: float
) -> None:
    """About one paragraph a chunk: at most 1.1 texts to embed for an edit; larger chunks: at most 1.6."""
    chosen = Chunking(kind, max_tokens)
    counts = changed(long_documents["L1"], long_documents[edited], chosen)
    assert 1.0 <= np.mean(counts) <= bound
    assert fill(long_documents["L1"], chosen) > 0.6


def test_the_living_corpus_changes_little(tldr_base: Path, tldr_pages: list[Path]) -> None:
    """Real commits to real pages, cut into chunks of a few lines: most of a page's chunks survive its edit."""
    texts = {page.relative_to(tldr_base).as_posix(): page.read_text(encoding="utf-8") for page in tldr_pages}
    before, after = [], []
    with (tldr_base.parent / "events.jsonl").open(encoding="utf-8") as events:
        for event in map(json.loads, islice(events, 4000)):
            if event["op"] == "modify":
                before.append(texts[event["path"]])
                after.append(event["text"])
            if event["text"] is not None:
                texts[event["path"]] = event["text"]
    chosen = Chunking("markdown", 64)
    counts, sizes = changed(before, after, chosen), [len(chunks) for chunks in chunk_texts(after, chosen)]
    assert len(counts) > 2000
    assert np.mean(counts) < 0.6 * np.mean(sizes)
