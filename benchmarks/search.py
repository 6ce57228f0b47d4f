"""What ``Index.search`` adds to LanceDB's own call: sizes, filters, permissions, routes and threads in one run.

    python -m benchmarks.search [--sizes 20000 100000] [--queries 200] [--write]

The floor is LanceDB's own query builder on the same table, with the same condition, columns and index settings. Both
get the same vectors, one after the other, so that neither has the quieter half of the run. Routes are compared with the
sum of their parts: the search of either generation by itself, for as many candidates as the route takes from each, and
for as many hits as its caller gets. ``--write`` puts the tables into docs/benchmarks.md.
"""

# ruff: noqa: SLF001 - the floor is the store's own table below the facade

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
from benchmarks.page import put
from benchmarks.workload import ListSource, MixedSource, TrivialEmbedder, load

from regen.core.documents import UNRESTRICTED, Document
from regen.core.recipe import Chunking
from regen.embedders.hashing import HashingEmbedder
from regen.engine.settings import Migration, Rescore
from regen.index import Index
from regen.serving.routes.dual import DEPTH
from regen.stores.lancedb import LanceStore, _condition
from regen.stores.lancedb_search import _AT_ZERO_DISTANCE, HIT_COLUMNS
from regen.stores.lancedb_upkeep import ALL_PARTITIONS

K: Final = 10
THREADS: Final = 8
CASES: Final[dict[str, dict[str, Any]]] = {
    "everything": {"principals": UNRESTRICTED},
    "a filter (section)": {"principals": UNRESTRICTED, "where": {"section": "libs"}},
    "a caller of one team (4 %)": {"principals": ["team 3"]},
    "both": {"principals": ["team 3"], "where": {"section": "libs"}},
}
HEADS: Final = (
    "| chunks | asked for | LanceDB: median, p95 | regen: median, p95 | more at the median | target: 15 %, or 1 ms |",
    "| --- | --- | --- | --- | --- | --- |",
)
Call = Callable[[np.ndarray[Any, Any]], object]


class Owned(MixedSource):
    """Of twenty-five documents one belongs to each of twenty-four teams, and one is public."""

    def document(self, number: int) -> Document:
        """One of them."""
        made, team = super().document(number), number % 25
        return Document(made.id, made.text, made.metadata, [f"team {team}"] if team else None)


@dataclass
class Times:
    """Milliseconds of calls that were made in turn."""

    by_name: dict[str, list[float]] = field(default_factory=dict)

    def take(self, name: str, call: Callable[[], object]) -> None:
        """Time one call."""
        started = time.perf_counter()
        call()
        self.by_name.setdefault(name, []).append((time.perf_counter() - started) * 1e3)

    def at(self, name: str, share: float) -> float:
        """A percentile."""
        return float(np.percentile(self.by_name[name], share))

    def shown(self, name: str) -> str:
        """Median and 95th percentile."""
        return f"{self.at(name, 50):.1f}, {self.at(name, 95):.1f} ms"


@contextmanager
def opened(source: ListSource) -> Iterator[Index]:
    """An index of a source's documents, with all of the store's upkeep."""
    with tempfile.TemporaryDirectory(prefix="regen-search-") as folder:
        given: dict[str, Any] = {
            "store": "lancedb://vectors", "catalog": "sqlite:///catalog.db", "root": Path(folder),
            "chunking": Chunking("whole"), "source": source, "filterable": {"section"},
        }  # fmt: skip
        with Index(embedder=TrivialEmbedder(), **given) as index:
            index.sync()
            index.gc()
            yield index


def bare(index: Index, where: dict[str, Any], principals: Any) -> Call:
    """LanceDB's own call for the same rows."""
    store = index._store
    assert isinstance(store, LanceStore)
    collection = index._writer.live_or_newest().collection
    handle = store._open(collection)
    table: Any = handle.table
    condition = condition_of(index, collection, where, principals)
    assert _AT_ZERO_DISTANCE[handle.layout.metric]
    settings = handle.index

    def call(vector: np.ndarray[Any, Any]) -> object:
        search = table.search(vector, vector_column_name="vector").distance_type(handle.layout.metric)
        search = search.select([*HIT_COLUMNS, "_distance"]).limit(K).nprobes(ALL_PARTITIONS)
        search = search.refine_factor(settings.refine).ef(max(settings.ef, 2 * settings.refine * K))
        if condition is not None:
            search = search.where(condition, prefilter=True)
        return search.to_list()

    return call


def condition_of(index: Index, collection: str, where: dict[str, Any], principals: Any) -> str | None:
    """The condition that regen itself would send, caught on its way."""
    store, caught = index._store, list[str | None]()
    assert isinstance(store, LanceStore)
    usual = store.search

    def search(*given: Any, **asked: Any) -> Any:
        caught.append(_condition(collection, store._open(collection), asked["where"], asked["principals"]))
        return usual(*given, **asked)

    vector = np.ones(index.recipe.embedding.dimensions, dtype=np.float32)
    with mock.patch.object(store, "search", search):
        index.search(vector, K, space=index.recipe.space, where=where, principals=principals)
    return caught[0]


def queries(count: int) -> list[np.ndarray[Any, Any]]:
    """Vectors of real texts."""
    rows, embedder = load("v1"), TrivialEmbedder()
    return [np.asarray(embedder.embed_query(rows[at * 37 % len(rows)]["text"]), np.float32) for at in range(count)]


def measure_cases(index: Index, chunks: int, vectors: list[np.ndarray[Any, Any]]) -> Iterator[str]:
    """A line for each kind of search."""
    space = index.recipe.space
    for name, asked in CASES.items():
        floor = bare(index, asked.get("where", {}), asked["principals"])

        times = Times()
        for vector in (*vectors[:20], *vectors):
            times.take("bare", partial(floor, vector))
            times.take("regen", partial(index.search, vector, K, space=space, **asked))
        times.by_name = {key: found[20:] for key, found in times.by_name.items()}
        gaps = [(times.at("regen", share), times.at("bare", share)) for share in (50, 95)]
        met = all(mine <= max(1.15 * its, its + 1.0) for mine, its in gaps)
        more = f"{gaps[0][0] - gaps[0][1]:+.2f} ms ({gaps[0][0] / gaps[0][1] - 1:+.0%})"
        verdict = "met" if met else "**a miss**"
        yield f"| {chunks:,} | {name} | {times.shown('bare')} | {times.shown('regen')} | {more} | {verdict} |"


def measure_threads(index: Index, chunks: int, vectors: list[np.ndarray[Any, Any]]) -> str:
    """How much more 8 threads do than one, of the store and of regen."""
    space = index.recipe.space
    calls: dict[str, Call] = {
        "bare": bare(index, {}, UNRESTRICTED),
        "regen": lambda vector: index.search(vector, K, space=space, principals=UNRESTRICTED),
    }
    rates: dict[str, dict[int, list[float]]] = {name: {1: [], THREADS: []} for name in calls}
    for _ in range(3):
        for name, call in calls.items():
            for threads, found in rates[name].items():
                started = time.perf_counter()
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(call, vectors))
                found.append(len(vectors) / (time.perf_counter() - started))
    gains = {name: float(np.median(of[THREADS]) / np.median(of[1])) for name, of in rates.items()}
    told = ", ".join(f"{name} {np.median(of[1]):.0f} → {np.median(of[THREADS]):.0f} a second ({gains[name]:.2f} ×)"
                     for name, of in rates.items())  # fmt: skip
    verdict = "met" if gains["regen"] >= 0.9 * gains["bare"] else "**a miss**"
    return f"{THREADS} threads instead of one at {chunks:,} chunks: {told}; the same gain within a tenth: {verdict}."


def measure_routes(chunks: int, count: int) -> Iterator[str]:
    """Rolling at half of a migration and dual, beside both generations by themselves; no text is scored meanwhile."""
    source = MixedSource(load("v1"), chunks)
    with tempfile.TemporaryDirectory(prefix="regen-routes-") as folder:
        models = {f"hashing/{size}": HashingEmbedder(size) for size in (384, 256)}
        given: dict[str, Any] = {
            "store": "lancedb://vectors", "catalog": "sqlite:///catalog.db", "root": Path(folder),
            "chunking": Chunking("whole"), "source": source, "models": models,
        }  # fmt: skip
        with Index(embedder=models["hashing/384"], **given) as index:
            index.sync()
        with Index(
            embedder=models["hashing/256"], migration=Migration("rolling", rescore=Rescore(0)), **given
        ) as index:
            target = index._writer.create(index.recipe)
            index._migrating.begin(target)
            index._writer.prepare_collection(target)
            half = index._catalog.head() // 2
            with index._writer.lease(target) as lease, index._writer.recorded("build") as (result, account):
                index._writer.reconcile_into(result, account, target, lease, None, upto=half)
            index._migrating.refresh(target)
            yield compared(index, "rolling, half migrated", (1, 2), count)
            index.apply()
            while (running := index.rollout()) is not None:
                assert running.kind == "rolling"
                index.abort_rollout("measured")
            index.begin_rollout(2, route="dual", weight=1.0)
            yield compared(index, "dual", (1, 2), count)


def compared(index: Index, name: str, generations: tuple[int, int], count: int) -> str:
    """One route beside the sum of its parts."""
    texts = [row["text"][:200] for row in load("v1")[: count * 11 : 11]]
    times, search = Times(), partial(index.search, principals=UNRESTRICTED)
    for at, text in enumerate((*texts[:10], *texts)):
        found = search(text, K, key=f"u{at}")
        assert found.explanation.route in {"rolling", "dual"}, found.explanation
        times.take("route", partial(search, text, K, key="u"))
        for number, depth in product(generations, (K, DEPTH)):
            times.take(f"{number} {depth}", partial(search, text, depth, generation=number))
    cells = []
    for depth, share in product((DEPTH, K), (50, 95)):
        parts = np.sum([times.by_name[f"{number} {depth}"] for number in generations], axis=0)
        route, both = times.at("route", share), float(np.percentile(parts, share))
        cells.append(f"{both:.1f} → {route:.1f} ms{'' if route <= both + 1.0 else ' (**a miss**)'}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="What Index.search adds to the store's own call.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    vectors = queries(chosen.queries)
    lines, threads = list(HEADS), []
    for size in chosen.sizes:
        with opened(Owned(load("v1"), size)) as index:
            for line in measure_cases(index, size, vectors):
                print(line, flush=True)
                lines.append(line)
            threads.append(measure_threads(index, size, vectors))
            print(threads[-1], flush=True)
    heads = f"| route | parts for {DEPTH} → route, median | p95 | parts for {K} → route, median | p95 |"
    lines += ["", *threads, "", heads, "| --- | --- | --- | --- | --- |"]
    for line in measure_routes(chosen.sizes[0], chosen.queries):
        print(line, flush=True)
        lines.append(line)
    if chosen.write:
        put("search", "\n".join(lines))


if __name__ == "__main__":
    main()
