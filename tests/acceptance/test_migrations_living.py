"""A real corpus lives and migrates: models, chunks and indexes change while its edits stream in and searches run.

    1 WordLlama 64 → 2 WordLlama 256 (embedded) → 3 larger chunks (new texts) → 4 another index (copied)
                   → 5 WordLlama 128 (derived)

A normal run takes a part of the pages and a prefix of the stream, ``make test-all`` the whole of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import never
from tests.acceptance.generations import assert_same, contents
from tests.acceptance.test_living_corpus import (
    WHOLE,
    WHOLE_MARKS,
    Commit,
    Stream,
    push,
    stream,  # noqa: F401 - a fixture
)

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.core.chunking import Chunker, make_chunker, pieces
from regen.core.recipe import TextTemplate
from regen.core.results import SyncResult
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.engine import probes
from regen.testing.faulty import FaultyEmbedder

SMALL, LARGE = Chunking("markdown", max_tokens=48), Chunking("markdown", max_tokens=96)
QUERIES = ("list files in a directory", "compress a folder", "show network interfaces", "kill a process by name")


@dataclass
class Life:
    """One living corpus, the models that it was ever sent to, and the index that keeps it."""

    root: Path
    texts: dict[str, str]
    commits: Iterator[Commit]
    settings: dict[str, Any] = field(default_factory=dict)
    models: dict[int, FaultyEmbedder] = field(default_factory=dict)
    needed: dict[Chunking, set[str]] = field(default_factory=dict)
    lately: set[str] = field(default_factory=set)
    cutters: dict[Chunking, Chunker] = field(default_factory=dict)
    index: Index = field(init=False)

    def __post_init__(self) -> None:
        self.models = {size: FaultyEmbedder(WordLlamaEmbedder(size), never) for size in (64, 128, 256)}
        starts = self.models[64].token_starts
        self.cutters = {chunking: make_chunker(chunking, starts) for chunking in (SMALL, LARGE)}
        self.needed = {chunking: self.cut(chunking, self.texts.values()) for chunking in (SMALL, LARGE)}

    def cut(self, chunking: Chunking, pages: Any) -> set[str]:
        """The distinct chunk texts of some pages, cut independently of the index."""
        listed = list(pages)
        cuts = self.cutters[chunking].split(listed)
        return {
            piece[1] for page, spans in zip(listed, cuts, strict=True) for piece in pieces(page, spans, TEMPLATE, ())
        }

    def open(self, size: int, root: Path | None = None, **settings: Any) -> Index:
        """An index with one of the models; the others are at hand."""
        folder = root or self.root
        folder.mkdir(exist_ok=True)
        return Index(
            embedder=self.models[size], models={model.info.name: model for model in self.models.values()},
            store="lancedb://vectors", catalog="sqlite:///catalog.db", root=folder, **settings,
        )  # fmt: skip

    def turn_to(self, size: int, **settings: Any) -> None:
        """Ask for another recipe."""
        if hasattr(self, "index"):
            self.index.close()
        self.settings = settings
        self.index = self.open(size, cache="cache.db", **settings)

    def edit(self, count: int) -> None:
        """The next commits, as they come; fewer when the stream ends."""
        for _, commit in zip(range(count), self.commits, strict=False):
            push(self.index, commit)
            self.texts |= commit.put
            for path in commit.gone:
                del self.texts[path]
            for chunking in self.needed:
                brought = self.cut(chunking, commit.put.values())
                self.needed[chunking] |= brought
                self.lately |= brought

    def sent(self, size: int) -> list[str]:
        """Every text that a model was sent as a document's."""
        queries = set(QUERIES)
        return [text for call in self.models[size].calls for text in call
                if text not in probes.TEXTS and text not in queries]  # fmt: skip

    def apply_while_editing(self, count: int) -> SyncResult:
        """Build what is asked for in one thread, and edit in another until it is ready: at least so many commits."""
        with ThreadPoolExecutor(1) as pool:
            building = pool.submit(self.index.apply)
            self.edit(count)
            return building.result()

    def assert_clean(self, number: int, size: int, **settings: Any) -> None:
        """A generation equals a clean build of the present pages, made from nothing by its recipe."""
        counted = {key: list(model.calls) for key, model in self.models.items()}
        with self.open(size, self.root / f"clean-{number}-{len(list(self.root.iterdir()))}", **settings) as fresh:
            fresh.upsert([Document(path, text) for path, text in self.texts.items()])
            assert_same(contents(self.index, number), contents(fresh, 1))
        for key, calls in counted.items():  # what a clean build asks for is none of the living index's
            self.models[key].calls[:] = calls


TEMPLATE = TextTemplate()


@contextmanager
def searching(life: Life) -> Iterator[list[int]]:
    """Search without pause, as another process would; yields the generations that answered. No search may fail."""
    stop, answered = threading.Event(), list[int]()
    spaces: dict[int, str] = {}

    def search() -> None:
        with life.open(64, chunking=SMALL) as reader:
            while not stop.is_set():
                for query in QUERIES:
                    found = reader.search(query, 10, principals=UNRESTRICTED)
                    assert len(found) == 10
                    assert {(hit.generation, hit.space) for hit in found} == {(found.generation, found.space)}
                    assert spaces.setdefault(found.generation, found.space) == found.space
                    answered.append(found.generation)
                    stop.wait(0.02)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(search)
        try:
            yield answered
        finally:
            stop.set()
            running.result()


def part_of(whole: Stream, pages: int | None, commits: int) -> tuple[dict[str, str], Sequence[Commit]]:
    """So many pages of the base and the commits that touch nothing else, or all of both."""
    if pages is None:
        return dict(whole.base), whole.commits[:commits]
    kept = set(list(whole.base)[:: len(whole.base) // pages])
    chosen = []
    for commit in whole.commits:
        touched = commit.put.keys() | commit.gone
        if touched & kept or not touched & whole.base.keys():
            kept |= commit.put.keys()
            chosen.append(Commit({**commit.put}, {path for path in commit.gone if path in kept}, commit.pure_rename))
            if len(chosen) == commits:
                break
    return {path: text for path, text in whole.base.items() if path in kept}, chosen


@pytest.mark.parametrize(
    ("pages", "commits"), [(350, 72), pytest.param(None, WHOLE, marks=WHOLE_MARKS)]
)  # fmt: skip
def test_a_corpus_migrates_while_it_lives(
    stream: Stream,  # noqa: F811 - the fixture
    tmp_path: Path,
    pages: int | None,
    commits: int,
) -> None:
    """Four migrations under edits and searches: exact counts, no failed search, every generation as clean as new."""
    texts, chosen = part_of(stream, pages, commits)
    life = Life(tmp_path / "living", texts, iter(chosen))
    some = commits // 12
    life.turn_to(64, chunking=SMALL)
    life.index.upsert([Document(path, text) for path, text in texts.items()])
    assert len(life.sent(64)) == len(life.needed[SMALL])
    with searching(life) as answered:
        life.edit(some)
        assert sorted(life.sent(64)) == sorted(life.needed[SMALL])
        embed(life, some)
        asked = len(life.sent(64))
        rechunk(life, some)
        copy(life, some)
        derive(life, some)
        assert_switches(life, some)
    life.edit(commits)
    assert set(answered) >= {1, 2, 5}
    assert len(life.sent(64)) == asked, "beside one of 256 dimensions a generation of 64 is derived"
    assert life.sent(128) == [], "what can be derived is never embedded"
    assert life.index.verify().consistent
    for number, (size, settings) in RECIPES.items():
        life.assert_clean(number, size, **settings)
    life.index.close()


RECIPES: Mapping[int, tuple[int, dict[str, Any]]] = {
    1: (64, {"chunking": SMALL}),
    2: (256, {"chunking": SMALL}),
    3: (256, {"chunking": LARGE}),
    4: (256, {"chunking": LARGE, "index": {"refine": 6}}),
    5: (128, {"chunking": LARGE, "index": {"refine": 6}}),
}


def build(life: Life, number: int, some: int) -> SyncResult:
    """Build a generation under edits, and promote it."""
    size, settings = RECIPES[number]
    life.lately.clear()
    life.turn_to(size, **settings)
    result = life.apply_while_editing(some)
    counted = {key: list(model.calls) for key, model in life.models.items()}
    assert life.index.promote().live == number == result.generation
    for key, calls in counted.items():  # the checks before a promotion ask as searchers do
        life.models[key].calls[:] = calls
    return result


def embed(life: Life, some: int) -> None:
    """64 to 256 dimensions: every text that the new generation was ever in need of, once."""
    before = life.cut(SMALL, life.texts.values())
    ever = set(life.needed[SMALL])
    build(life, 2, some)
    sent, now = life.sent(256), life.cut(SMALL, life.texts.values())
    assert len(sent) == len(set(sent))
    assert now <= set(sent) <= before | (life.needed[SMALL] - ever) | now
    life.assert_clean(2, *[256], **RECIPES[2][1])
    brought = life.needed[SMALL] - set(life.sent(256))
    assert len(life.sent(64)) == len(set(life.sent(64)))
    life.edit(some)
    asked = set(life.sent(256))
    assert life.needed[SMALL] - brought <= asked <= life.needed[SMALL], "what came and went during the build is not"
    assert life.index.rollback().live == 1
    life.assert_clean(1, 64, **RECIPES[1][1])
    assert life.index.rollback().live == 2


def rechunk(life: Life, some: int) -> None:
    """Larger chunks: only texts that no smaller chunk was."""
    held = set(life.sent(256))
    old = life.cut(LARGE, life.texts.values())
    assert old & held, "short pages are one chunk by either recipe"
    build(life, 3, some)
    new = life.sent(256)[len(held) :]
    assert len(new) == len(set(new))
    assert not set(new) & held
    assert life.cut(LARGE, life.texts.values()) <= set(new) | held
    assert set(new) <= life.needed[LARGE] | life.lately, "a text may come back that the model never saw"


def copy(life: Life, some: int) -> None:
    """Another index: nothing but what the edits bring is embedded."""
    held = set(life.sent(256))
    build(life, 4, some)
    assert set(life.sent(256)) - held <= life.lately


def derive(life: Life, some: int) -> None:
    """256 to 128 dimensions: the smaller model is never asked."""
    result = build(life, 5, some)
    assert life.sent(128) == []
    assert result.chunks.written > 0


def assert_switches(life: Life, some: int) -> None:
    """Edits, a rollback, edits, a roll forward: the generations have them all."""
    life.edit(some)
    assert life.index.rollback().live == 4
    life.edit(some)
    assert life.index.rollback().live == 5
