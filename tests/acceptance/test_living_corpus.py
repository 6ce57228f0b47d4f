"""A real corpus lives: thousands of pages, then their real edits, and the index is right after each of them.

A normal run applies a prefix of the stream, ``make test-all`` the whole of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.core.chunking import make_chunker, pieces
from regen.core.recipe import TextTemplate
from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.ports import Embedder
from regen.sources.files import FilesSource

WHOLE = 4_090
WHOLE_MARKS = [pytest.mark.slow, pytest.mark.timeout(3_600)]
PAGES = ["**/*.md", "**/.*.md"]  # the page of the shell's dot is a hidden file
CHUNKING = Chunking("markdown", max_tokens=64)


@dataclass
class Commit:
    """What one commit of the stream makes of the corpus. ``pure_rename``: nothing but names changed."""

    put: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    pure_rename: bool = True

    def add(self, event: Mapping[str, Any]) -> None:
        """One event of it, in order."""
        self.pure_rename &= event["op"] == "rename" and not event["content_changed"]
        if event["op"] in {"delete", "rename"}:
            lost = event["path"] if event["op"] == "delete" else event["old_path"]
            self.put.pop(lost, None)
            self.gone.add(lost)
        if event["op"] != "delete":
            self.put[event["path"]] = event["text"]
            self.gone.discard(event["path"])


@dataclass
class Stream:
    """The base pages, the commits, and the digest of the right state after some of them."""

    base: dict[str, str]
    commits: list[Commit]
    digests: dict[int, str]


@pytest.fixture(scope="module")
def stream(real_data: Path) -> Stream:
    """The living corpus, read once."""
    folder = real_data / "tldr-stream"
    if not (folder / "events.jsonl").is_file():
        pytest.skip(f"the living corpus is not in {folder}")
    pages = sorted((folder / "base").rglob("*.md"))
    base = {page.relative_to(folder / "base").as_posix(): page.read_bytes().decode() for page in pages}
    commits = []
    with (folder / "events.jsonl").open(encoding="utf-8", newline="\n") as lines:
        for _, events in groupby(map(json.loads, lines), key=lambda event: event["commit"]):
            commits.append(Commit())
            for event in events:
                commits[-1].add(event)
    checkpoints = [json.loads(line) for line in (folder / "checkpoints.jsonl").read_text().splitlines()]
    return Stream(base, commits, {point["commits"]: point["digest"] for point in checkpoints})


def digest(texts: Mapping[str, str]) -> str:
    """The digest of a state, as the corpus' own notes define it."""
    lines = sorted(f"{path}\0{sha256(text.encode()).hexdigest()}\n" for path, text in texts.items())
    return sha256("".join(lines).encode()).hexdigest()


def texts_in(index: Index) -> dict[str, str]:
    """Every living document's text, out of the catalog: to a generation that does not exist all of them are due."""
    works = index._catalog.behind(
        99, after=0, upto=index._catalog.head(), lane=None, limit=1_000_000, max_bytes=1 << 40
    )
    return {work.doc_id: work.text for work in works}


class Chunker:
    """The chunk texts of a page, cut independently of the index by the same rules."""

    def __init__(self, embedder: Embedder) -> None:
        self._chunker, self._known = make_chunker(CHUNKING, embedder.token_starts), dict[str, frozenset[str]]()

    def all_of(self, texts: Iterable[str]) -> set[str]:
        """The distinct chunk texts of some pages."""
        texts = list(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for text, spans in zip(new, self._chunker.split(new), strict=True):
            self._known[text] = frozenset(cut[1] for cut in pieces(text, spans, TextTemplate(), ()))
        return set[str]().union(*(self._known[text] for text in texts))


def make_index(root: Path, embedder: Embedder, **more: Any) -> Index:
    """An index on the default store and catalog."""
    root.mkdir()
    return Index(
        embedder=embedder, store="lancedb://vectors", catalog="sqlite:///catalog.db", chunking=CHUNKING, root=root,
        **more,
    )  # fmt: skip


def push(index: Index, commit: Commit) -> int:
    """Apply one commit; how many texts were embedded."""
    embedded = index.upsert([Document(path, text) for path, text in commit.put.items()]).embedded_texts
    if commit.gone:
        embedded += index.delete(commit.gone).embedded_texts
    return embedded


def contents(index: Index) -> dict[tuple[str, str], tuple[Any, ...]]:
    """All points of the live generation by document and chunk, with text, payload and vector."""
    collection, store = index._writer.live_or_newest().collection, index._store
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for page in store.scan(collection):
        payload = page.payload
        ids, vectors = store.fetch(collection, page.ids)
        by_id = dict(zip(ids, vectors, strict=True))
        for row, point in enumerate(page.ids):
            key = (payload.doc_id[row], payload.chunk_id[row])
            assert key not in found, f"two points hold {key}"
            found[key] = (payload.text[row], payload.metadata[row], payload.access[row], by_id[point])
    return found


def assert_equals_clean_build(index: Index, clean: Index) -> None:
    """Two indexes hold the same chunks in the same order, with the same texts, payload and vectors."""
    assert index.verify().consistent
    ids = sorted(texts_in(clean))
    ours, theirs = (
        {doc_id: [placed.chunks[at : at + 16] for at in range(0, len(placed.chunks), 24)] for doc_id, placed in
         one._catalog.placed(1, ids).items()} for one in (index, clean)
    )  # fmt: skip
    assert ours == theirs
    assert len(theirs) == len(ids) > 5_000
    mine, expected = contents(index), contents(clean)
    assert mine.keys() == expected.keys()
    assert all(mine[key][:3] == expected[key][:3] for key in expected)
    ours_stacked, theirs_stacked = (np.stack([held[key][3] for key in expected]) for held in (mine, expected))
    np.testing.assert_allclose(ours_stacked, theirs_stacked, atol=1e-5)


def prefix_of(stream: Stream, count: int) -> Iterator[tuple[int, Commit]]:
    """The first commits, numbered from 1."""
    return enumerate(stream.commits[:count], start=1)


@pytest.mark.parametrize("count", [200, pytest.param(WHOLE, marks=WHOLE_MARKS)])
def test_every_commit_is_followed_and_nothing_embedded_twice(stream: Stream, tmp_path: Path, count: int) -> None:
    """With the embedding cache the model is sent each distinct chunk text ever needed once, over the whole history."""
    embedder = HashingEmbedder(64)
    chunker, texts = Chunker(embedder), dict(stream.base)
    with make_index(tmp_path / "living", embedder, cache="cache.db") as index:
        total = index.upsert([Document(path, text) for path, text in texts.items()]).embedded_texts
        ever = chunker.all_of(texts.values())
        assert total == len(ever)
        for number, commit in prefix_of(stream, count):
            embedded = push(index, commit)
            total += embedded
            ever |= chunker.all_of(commit.put.values())
            assert not (commit.pure_rename and embedded), f"commit {number} only renames"
            if number in stream.digests:
                assert digest(texts_in(index)) == stream.digests[number], f"after {number} commits"
        assert total == len(ever)
        with make_index(tmp_path / "clean", embedder) as clean:
            clean.upsert([Document(path, text) for path, text in texts_in(index).items()])
            assert_equals_clean_build(index, clean)


@pytest.mark.parametrize("count", [60, pytest.param(WHOLE, marks=WHOLE_MARKS)])
def test_without_a_cache_only_what_no_document_holds_is_embedded(stream: Stream, tmp_path: Path, count: int) -> None:
    """Exact commit by commit: the chunk texts of what a commit writes, less those that any document held before it."""
    embedder = WordLlamaEmbedder.from_name("wordllama/l2-supercat-64")
    chunker, texts = Chunker(embedder), dict(stream.base)
    with make_index(tmp_path / "living", embedder) as index:
        first = index.upsert([Document(path, text) for path, text in texts.items()]).embedded_texts
        assert first == len(chunker.all_of(texts.values()))
        for number, commit in prefix_of(stream, count):
            held = chunker.all_of(texts.values())
            needed = chunker.all_of(commit.put.values()) - held
            assert push(index, commit) == len(needed), f"commit {number}"
            texts |= commit.put
            for path in commit.gone:
                del texts[path]
        assert texts_in(index) == texts
        with make_index(tmp_path / "clean", embedder) as clean:
            clean.upsert([Document(path, text) for path, text in texts.items()])
            assert_equals_clean_build(index, clean)


@pytest.mark.parametrize("count", [300, pytest.param(WHOLE, marks=WHOLE_MARKS)])
@pytest.mark.parametrize("partial", [False, True])
def test_a_folder_is_followed_in_batches(stream: Stream, tmp_path: Path, count: int, *, partial: bool) -> None:
    """Files change by a hundred commits at a time; a scan, or a read of just the changed ids, brings all in step."""
    folder, embedder = tmp_path / "pages", HashingEmbedder(64)
    write(folder, stream.base)
    with make_index(tmp_path / "living", embedder, source=FilesSource(folder, PAGES)) as index:
        assert index.sync().documents.added == len(stream.base)
        touched: set[str] = set()
        for number, commit in prefix_of(stream, count):
            write(folder, commit.put)
            for path in commit.gone:
                (folder / path).unlink()
            touched |= commit.put.keys() | commit.gone
            if number in stream.digests or number == count:
                result = index.sync_ids(touched) if partial else index.sync()
                assert 0 < result.documents.changed <= len(touched)
                touched.clear()
            if number in stream.digests:
                assert digest(texts_in(index)) == stream.digests[number], f"after {number} commits"
        assert index.sync().documents.changed == 0
        with make_index(tmp_path / "clean", embedder, source=FilesSource(folder, PAGES)) as clean:
            clean.sync()
            assert_equals_clean_build(index, clean)


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Save pages, their newlines untouched."""
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())


def test_search_follows_the_stream(stream: Stream, tmp_path: Path) -> None:
    """After the commits that delete or rename a page, a search for its own words finds the new page, not the old."""
    moved = [(number, commit) for number, commit in prefix_of(stream, WHOLE) if commit.pure_rename][:5]
    assert len(moved) == 5, "the stream has renames"
    texts: dict[str, str] = {}
    for number, commit in moved:
        for path in commit.gone:
            texts[path] = next(
                known.put[path] for known in reversed([Commit(stream.base), *stream.commits[: number - 1]])
                if path in known.put
            )  # fmt: skip
    with make_index(tmp_path / "living", HashingEmbedder(64)) as index:
        index.upsert([Document(path, text) for path, text in texts.items()])
        for _, commit in moved:
            assert push(index, commit) == 0
            for path, text in commit.put.items():
                hits = index.search(text, k=20, principals=UNRESTRICTED)
                assert path in {hit.doc_id for hit in hits}
                assert not commit.gone & {hit.doc_id for hit in hits}
