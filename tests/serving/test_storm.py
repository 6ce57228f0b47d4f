"""Thousands of searches under every route while documents are edited, deleted and hidden, and the alias is switched.

A judge holds every answer to I1 (a hit's space is its generation's, and scores of two generations meet only where the
route merges them), I2 (a document's chunks are of one revision), I3 (what was deleted or hidden before the search began
is not there) and I7 (one route answers; no search fails). Asked for everything, a search must return every document
that it may return, with all its chunks.
"""

from __future__ import annotations

import base64
import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.serving.filling import WORDS

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.core.results import Progress, SearchResult
from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Limits, Migration, Strategy
from regen.ports.rollouts import RouteKind
from regen.quality.bridging import BridgeBuilder
from regen.stores.memory import MemoryStore

DOCUMENTS: Final = 60
SENTENCES: Final = 3
EVERYTHING: Final = 1_000
SLOWED: Final = 30
"""Batches of a build that wait for searches: twice what the first pass over all documents takes."""
COMPARED: Final[tuple[tuple[RouteKind, str], ...]] = (
    ("canary", "rollback"), ("ab", "abort"), ("shadow", "rollback"), ("interleaved", "abort"), ("dual", "rollback"),
)  # fmt: skip
MERGING: Final = ("rolling", "on_read", "interleaved", "dual")
SIZES: Final = (16, 24, 20, 28, 22)
MODELS: Final = {f"hashing/{size}": HashingEmbedder(size) for size in SIZES}


@dataclass(frozen=True, slots=True)
class Version:
    """What a document is; number 0 is a deleted one."""

    number: int
    hidden: bool = False
    lang: str = "en"

    def document(self, name: str) -> Document:
        """As it is pushed: every sentence names the document and the version, and fills a chunk."""
        return Document(name, " ".join(self.sentences(name)), {"lang": self.lang}, ["team"] if self.hidden else None)

    def sentences(self, name: str) -> list[str]:
        """One a chunk, with some words of the document's own."""
        chance = random.Random(f"{name} {self.number}")
        return [
            f"{' '.join(chance.choices(WORDS, k=11)).capitalize()} {name} v{self.number} s{at}."
            for at in range(SENTENCES)
        ]


@dataclass(slots=True)
class Change:
    """A call that made a document another version: when it was begun, and when it had returned."""

    begun: int
    version: Version
    done: int | None = None


@dataclass
class Journal:
    """All that was done to the documents, by a clock that only counts."""

    clock: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    changes: dict[str, list[Change]] = field(default_factory=dict)

    def now(self) -> int:
        """A moment, unlike any other."""
        return next(self.clock)

    @contextmanager
    def changing(self, name: str, version: Version) -> Iterator[None]:
        """A call is made."""
        change = Change(self.now(), version)
        self.changes.setdefault(name, []).append(change)
        yield
        change.done = self.now()

    def possible(self, name: str, begun: int, ended: int) -> list[Version]:
        """What a search that began and ended then may have found a document to be: newest first."""
        found = []
        for change in reversed(self.changes[name]):
            if change.begun <= ended:
                found.append(change.version)
            if change.done is not None and change.done <= begun:
                break  # what was before that was over when the search began
        return found


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what."""

    text: str
    k: int
    team: bool
    lang: str | None

    def admits(self, version: Version) -> bool:
        """Whether a version may be shown."""
        return version.number > 0 and (self.team or not version.hidden) and self.lang in {None, version.lang}

    def of(self, index: Index, key: str) -> SearchResult:
        """The answer."""
        principals: Any = UNRESTRICTED if self.team else []
        return index.search(
            self.text, self.k, principals=principals, where={"lang": self.lang} if self.lang else None, key=key
        )


def judge(journal: Journal, spaces: dict[int, str], asked: Asked, found: SearchResult, span: tuple[int, int]) -> None:
    """Whether an answer was one that might be given."""
    assert found.space == spaces[found.generation]
    assert all(hit.space == spaces[hit.generation] for hit in found), "I1"
    merges = found.explanation.route in MERGING
    if not merges:
        assert {hit.generation for hit in found} <= {found.generation}, "I7: of one generation"
    if found.explanation.route != "interleaved":
        scores = [hit.score for hit in found]
        assert scores == sorted(scores, reverse=True), "best first"
    shown: dict[str, set[str]] = {}
    for hit in found:
        shown.setdefault(hit.doc_id, set()).add(hit.text)
    assert len({(hit.doc_id, hit.chunk_id) for hit in found}) == len(found), "each chunk once"
    for name in journal.changes if asked.k == EVERYTHING else shown:
        judge_document(journal, asked, name, shown.get(name, set()), found, span)


def judge_document(
    journal: Journal, asked: Asked, name: str, texts: set[str], found: SearchResult, span: tuple[int, int]
) -> None:
    """One document's chunks in an answer: of one version that was there, that may be seen, and whole."""
    possible = journal.possible(name, *span)
    seen = [version for version in possible if asked.admits(version)]
    if texts:
        owners = [version for version in seen if texts <= set(version.sentences(name))]
        assert owners, f"I2 or I3: {name} {sorted(texts)} by {found.explanation}; possible: {possible}"
        sides = {hit.generation for hit in found if hit.doc_id == name}
        assert len(sides) == 1, "a document is answered by one generation"
    if asked.k == EVERYTHING and len(seen) == len(possible):
        assert texts, f"{name} is lost: {found.explanation}; possible: {possible}"
        whole = found.explanation.route not in {"interleaved", "dual"}
        assert not whole or len(texts) == SENTENCES, f"{name} is not whole: {sorted(texts)} of {possible}"


@dataclass
class Storm:
    """An index under changes and searches; ``searches`` a stage."""

    root: Path
    searches: int
    journal: Journal = field(default_factory=Journal)
    store: MemoryStore = field(default_factory=MemoryStore)
    spaces: dict[int, str] = field(default_factory=dict)
    routes: dict[str, int] = field(default_factory=dict)
    made: int = 0
    rescored: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    moved: threading.Condition = field(default_factory=threading.Condition)

    def open(self, size: int, strategy: Strategy = "auto") -> Index:
        """The index, asked for a model's generation."""
        return Index(
            embedder=MODELS[f"hashing/{size}"], models=MODELS, store=self.store, root=self.root,
            catalog="sqlite:///catalog.db", chunking=Chunking("sentences", max_tokens=24),
            limits=Limits(batch_documents=4, lease_wait=60.0), migration=Migration(strategy),
        )  # fmt: skip

    # ── what goes on ────────────────────────────────────────────────────────────────────────────────────────

    def change(self) -> None:
        """Edit, hide, show, delete and bring back documents until it is over."""
        chance = random.Random(0)
        with self.open(SIZES[0]) as index:
            for number in itertools.count(2):
                if self.over.is_set():
                    return
                name = f"d{chance.randrange(DOCUMENTS):02}"
                self.turn(index, name, chance, number)
                self.over.wait(0.004)

    def turn(self, index: Index, name: str, chance: random.Random, number: int) -> None:
        """One change of one document."""
        before = self.journal.changes[name][-1].version
        version = chance.choice([
            Version(number, before.hidden, before.lang), Version(0),
            Version(before.number or number, not before.hidden, before.lang),
            Version(before.number or number, before.hidden, "de" if before.lang == "en" else "en"),
        ])  # fmt: skip
        with self.journal.changing(name, version):
            if version.number:
                index.upsert([version.document(name)])
            else:
                index.delete([name])

    def search(self, seed: int) -> None:
        """Search and judge until it is over; the pending candidates of merging routes are scored on the spot."""
        chance = random.Random(seed)
        with self.open(SIZES[0], "rolling") as index:
            while not self.over.is_set():
                asked = Asked(
                    " ".join(chance.choices(WORDS, k=3)), chance.choice([5, 10, EVERYTHING]), chance.random() < 0.5,
                    chance.choice([None, None, "en", "de"]),
                )  # fmt: skip
                begun = self.journal.now()
                found = asked.of(index, f"user {chance.randrange(20)}")
                span = begun, self.journal.now()
                if found.generation not in self.spaces or not self.spaces.keys() >= {h.generation for h in found}:
                    self.learn(index)
                judge(self.journal, self.spaces, asked, found, span)
                with self.moved:
                    self.made += 1
                    self.rescored += found.explanation.rescored > 0
                    route = found.explanation.route
                    self.routes[route] = self.routes.get(route, 0) + 1
                    self.moved.notify_all()

    def learn(self, index: Index) -> None:
        """The space of every generation."""
        self.spaces |= {item.number: item.recipe.space for item in index._catalog.generations()}

    # ── what is done meanwhile ──────────────────────────────────────────────────────────────────────────────

    def pass_by(self, searches: int, workers: list[Future[None]]) -> None:
        """Let so many searches go by."""
        with self.moved:
            upto = self.made + searches
            while self.made < upto and not any(worker.done() for worker in workers):
                self.moved.wait(0.5)

    def build(self, size: int, strategy: Strategy, workers: list[Future[None]]) -> None:
        """Build a model's generation by a strategy, a few searches a batch, then let it be promoted and rolled back."""
        batches = itertools.count()

        def report(_: Progress) -> None:
            # Only so many batches: a build that waits longer for searches than edits take never catches up with them.
            if next(batches) < SLOWED:
                self.pass_by(self.searches // SLOWED, workers)

        with self.open(size, strategy) as index:
            index.apply(progress=report)
            if strategy == "on_read":
                self.pass_by(self.searches, workers)
                index.apply(progress=report)
            self.pass_by(self.searches // 3, workers)
            built = index.promote(force=True, reason="test").live
            self.pass_by(self.searches // 6, workers)
            index.rollback()
            self.pass_by(self.searches // 6, workers)
            index.promote(built, force=True, reason="test")

    def compare(self, kind: RouteKind, ends: str, workers: list[Future[None]]) -> None:
        """Let the former generation serve beside the live one, until that ends in one of its ways."""
        with self.open(SIZES[0]) as index:
            live = index._catalog.route(index.alias)
            assert live.previous is not None
            index.begin_rollout(live.previous, route=kind, weight=0.5)
            self.pass_by(self.searches, workers)
            if ends == "abort":
                index.abort_rollout("test")
            else:
                index.rollback()
            self.pass_by(self.searches // 10, workers)

    def bridge(self, size: int, workers: list[Future[None]]) -> None:
        """Bridge to a generation that is begun and then given up."""
        with self.open(size) as index:
            live = index._writer.live_or_newest()
            target = index._writer.create(index.recipe)
            index._writer.prepare_collection(target)
            builder = BridgeBuilder(index._writer, index._reader, live, target)
            builder._place_sample(150)
            fitted = builder._fit(*builder._pairs(150))
            state = {"weight": 0.5, "map": base64.b64encode(fitted.to_bytes()).decode()}
            index._catalog.start_rollout(
                index.alias, "bridge", target.number, weight=0.5, settings={}, state=state, actor="ann", reason="test",
                at=1.0,
            )  # fmt: skip
            self.pass_by(self.searches, workers)
            index.retire(target.number)
            self.pass_by(self.searches // 10, workers)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads that wait for the database give the interpreter away at every statement: five milliseconds each time."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)
    yield
    sys.setswitchinterval(usual)


def load(storm: Storm) -> None:
    """The first generation."""
    with storm.open(SIZES[0]) as index:
        documents = []
        for at in range(DOCUMENTS):
            version = Version(1, hidden=at % 4 == 0, lang="de" if at % 3 else "en")
            with storm.journal.changing(f"d{at:02}", version):
                documents.append(version.document(f"d{at:02}"))
        index.upsert(documents)
        storm.learn(index)


@pytest.mark.parametrize(
    ("searches", "at_least"),
    [(150, 1_350), pytest.param(1_700, 20_000, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])],
    ids=["short", "long"],
)
@pytest.mark.usefixtures("quick_switches")
def test_no_route_breaks_a_promise(tmp_path: Path, searches: int, at_least: int) -> None:
    """Every route, under live edits, deletions, changes of access, promotions and rollbacks."""
    storm = Storm(tmp_path, searches)
    load(storm)
    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(storm.change), *(pool.submit(storm.search, seed) for seed in range(3))]
        try:
            storm.build(SIZES[1], "rolling", workers)
            for kind, ends in COMPARED:
                storm.compare(kind, ends, workers)
            storm.build(SIZES[2], "on_read", workers)
            storm.bridge(SIZES[3], workers)
            storm.build(SIZES[4], "rebuild", workers)
        finally:
            storm.over.set()
        for worker in workers:
            worker.result()
    told = {"live", "canary", "ab", "shadow", "interleaved", "dual", "rolling", "on_read", "bridge"}
    assert set(storm.routes) == told
    assert min(storm.routes.values()) >= searches // 2, storm.routes
    assert sum(storm.routes.values()) >= at_least
    assert storm.rescored >= searches // 10


def test_the_judge_can_tell(tmp_path: Path) -> None:
    """Each kind of wrong answer is found wrong: what is deleted, hidden, of two versions, of another space, lost."""
    storm = Storm(tmp_path, 0)
    load(storm)
    with storm.open(SIZES[0]) as index:
        asked = Asked("river stone", EVERYTHING, team=False, lang=None)
        whole = asked.of(index, "user")
        span = storm.journal.now(), storm.journal.now()
        judge(storm.journal, storm.spaces, asked, whole, span)
        for wrong in broken(storm, whole):
            journal, spaces, result = wrong()
            with pytest.raises(AssertionError):
                judge(journal, spaces, asked, result, (journal.now(), journal.now()))


def broken(storm: Storm, whole: SearchResult) -> Iterator[Callable[[], tuple[Journal, dict[int, str], SearchResult]]]:
    """The answer made wrong, each way."""
    first = whole.hits[0]
    name = first.doc_id

    def after(version: Version) -> Callable[[], tuple[Journal, dict[int, str], SearchResult]]:
        def wrong() -> tuple[Journal, dict[int, str], SearchResult]:
            journal = Journal(storm.journal.clock, {key: list(value) for key, value in storm.journal.changes.items()})
            with journal.changing(name, version):
                pass
            return journal, storm.spaces, whole

        return wrong

    yield after(Version(0))
    yield after(Version(1, hidden=True))
    yield after(Version(2))
    yield lambda: (storm.journal, storm.spaces, replace(whole, hits=whole.hits[1:]))
    yield lambda: (storm.journal, storm.spaces, replace(whole, hits=[h for h in whole.hits if h.doc_id != name]))
    yield lambda: (storm.journal, storm.spaces, replace(whole, hits=[replace(first, space="other"), *whole.hits[1:]]))
    yield lambda: (storm.journal, {1: whole.space, 2: "x"}, replace(
        whole, hits=[replace(first, generation=2, space="x"), *whole.hits[1:]]))  # fmt: skip
