"""Our chunker beside semantic-text-splitter and chonkie, on the same documents with the same tokenizer.

    python benchmarks/chunkers.py [--documents 120] [--tokens 160 256 512] [--join 1] [--only NAME]

Measured on documents of 20 real paragraphs (up to 500 of them), one of which is edited: L2 has one word replaced, L3 a
sentence inserted. With ``--join 20`` twenty of them make one document, of which only the first part is edited. For each
chunker and size: chunk texts to embed for an edited document (mean and worst), how full chunks are on the mean and at
the 5th percentile, the largest chunk when it is tokenized by itself, and speed in MB/s, tokenizing included. A peer
that is not installed is left out; ``--only regen`` leaves out all of them. The data is found as ../shared/peers/data,
or as ../peers/data beside the folder that REGEN_DATA names.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regen.core.chunking import make_chunker
from regen.core.recipe import Chunking

Split = Callable[[Sequence[str]], list[list[str]]]
Make = Callable[[Any, int], Split]
OURS = ("markdown", "sentences", "tokens")


def load_tokenizer() -> Any:
    """WordLlama's tokenizer, as it lies in its wheel."""
    import wordllama

    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    model.tokenizer.no_padding()
    model.tokenizer.no_truncation()
    return model.tokenizer


def starts_of(tokenizer: Any, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [np.array([start for start, _ in one.offsets], dtype=np.int64) for one in encoded]


def regen(kind: str) -> Make:
    def make(tokenizer: Any, size: int) -> Split:
        chunker = make_chunker(Chunking(kind, size), lambda texts: starts_of(tokenizer, texts))

        def split(texts: Sequence[str]) -> list[list[str]]:
            return [
                [text[span.start : span.end] for span in spans]
                for text, spans in zip(texts, chunker.split(texts), strict=True)
            ]

        return split

    return make


def text_splitter(name: str) -> Make:
    def make(tokenizer: Any, size: int) -> Split:
        import semantic_text_splitter

        splitter = getattr(semantic_text_splitter, name).from_huggingface_tokenizer(tokenizer, size)
        return lambda texts: [splitter.chunks(text) for text in texts]

    return make


def chonkie(name: str) -> Make:
    def make(tokenizer: Any, size: int) -> Split:
        import chonkie

        chunker = getattr(chonkie, name)(tokenizer=tokenizer, chunk_size=size)
        return lambda texts: [[chunk.text.strip() for chunk in chunker.chunk(text)] for text in texts]

    return make


CHUNKERS: dict[str, tuple[str, Make]] = {
    **{f"regen {kind}": ("regen", regen(kind)) for kind in OURS},
    "semantic-text-splitter Text": ("semantic-text-splitter", text_splitter("TextSplitter")),
    "semantic-text-splitter Markdown": ("semantic-text-splitter", text_splitter("MarkdownSplitter")),
    "chonkie Recursive": ("chonkie", chonkie("RecursiveChunker")),
    "chonkie Sentence": ("chonkie", chonkie("SentenceChunker")),
    "chonkie Token": ("chonkie", chonkie("TokenChunker")),
}


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def load(count: int) -> dict[str, list[str]]:
    named = os.environ.get("REGEN_DATA")
    data = Path(named) if named else Path(__file__).parents[1].parent / "shared" / "data"
    folder = data.parent / "peers" / "data"
    if not folder.is_dir():
        sys.exit(f"no data in {folder}; set REGEN_DATA to the folder beside which peers/ lies")
    texts = {}
    for name in ("L1", "L2", "L3"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts[name] = [json.loads(line)["text"] for line in lines][:count]
    return texts


def joined(texts: dict[str, list[str]], length: int) -> dict[str, list[str]]:
    """Every ``length`` documents as one, edited in its first part only."""
    base = texts["L1"]
    firsts = range(0, len(base) - length + 1, length)
    return {
        name: ["\n\n".join([edited[at], *base[at + 1 : at + length]]) for at in firsts]
        for name, edited in texts.items()
    }


def to_embed(before: list[list[str]], after: list[list[str]]) -> str:
    counts = [sum((Counter(new) - Counter(old)).values()) for old, new in zip(before, after, strict=True)]
    return f"{np.mean(counts):5.2f} {max(counts):3d}"


def measure(label: str, make: Make, tokenizer: Any, size: int, texts: dict[str, list[str]]) -> None:
    split = make(tokenizer, size)
    started = time.perf_counter()
    before = split(texts["L1"])
    seconds = time.perf_counter() - started
    sizes = [len(starts) for chunks in before for starts in starts_of(tokenizer, chunks)]
    edits = "  ".join(to_embed(before, split(texts[name])) for name in ("L2", "L3"))
    megabytes = sum(len(text.encode()) for text in texts["L1"]) / 1e6
    share, low = np.mean(sizes) / size, np.percentile(sizes, 5) / size
    print(f"{label:34}{size:5}   {edits}   {share:5.2f} {low:5.2f} {max(sizes):6}   {megabytes / seconds:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Chunkers compared: texts to embed after an edit, fill, speed.")
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--join", type=int, default=1)
    parser.add_argument("--only", default="", help="run the chunkers whose name contains this")
    parser.add_argument("--tokens", type=int, nargs="+", default=[160, 256, 512])
    chosen = parser.parse_args()
    tokenizer, texts = load_tokenizer(), joined(load(chosen.documents), chosen.join)
    started = time.perf_counter()
    starts_of(tokenizer, texts["L1"])
    seconds = time.perf_counter() - started
    megabytes = sum(len(text.encode()) for text in texts["L1"]) / 1e6
    print(f"{len(texts['L1'])} documents, {megabytes:.1f} MB; tokenizing alone {megabytes / seconds:.2f} MB/s")
    print(f"{'':34} size   L2: mean max  L3: mean max   fill   p5    max      MB/s")
    for size in chosen.tokens:
        for label, (package, make) in CHUNKERS.items():
            if chosen.only not in label:
                continue
            if installed(package) is None:
                print(f"{label:34}{size:5}   not installed")
            else:
                measure(label, make, tokenizer, size, texts)


if __name__ == "__main__":
    main()
