"""What users get while a model is changed, through the index itself: rolling, on read, bridge.

    python -m benchmarks.serving_migration [scifact|cranfield]

Every number is of searches that went the whole way: route, both models, both stores, fence, merge. ``on_read`` replays
a query log in which popular queries come back (Zipf, seeded): a part of it is searched, the background places what was
returned, and then the judged queries of the whole log are measured, each as often as the log has it.
"""

# ruff: noqa: SLF001 - migrations are held half-way, which no reader of an index can do

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import orjson
from benchmarks.migration_quality import DATA

from regen import UNRESTRICTED, Chunking, Document, Index
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.engine.on_read import Placer
from regen.engine.settings import Migration, Strategy
from regen.evaluation.judged import JudgedCollection
from regen.evaluation.measures import measure, rank_documents
from regen.ports import Embedder
from regen.quality.settings import CollectionFiles, EvaluationSettings
from regen.stores.memory import MemoryStore

MEASURE: Final = "nDCG@10"
SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


def documents(name: str) -> list[Document]:
    """A collection's documents, title and text as one."""
    lines = (DATA / name / "corpus.jsonl").read_bytes().splitlines()
    rows = [orjson.loads(line) for line in lines]
    return [Document(row["_id"], f"{row.get('title') or ''}\n{row['text']}".strip() or "-") for row in rows]


def judged(name: str) -> JudgedCollection:
    """Its queries and judgments."""
    return CollectionFiles(name, DATA / name / "queries.jsonl", DATA / name / "qrels.tsv").read()


@contextmanager
def changing(
    name: str, strategy: Strategy, old: Embedder, new: Embedder, *, evaluation: EvaluationSettings | None = None
) -> Iterator[Index]:
    """An index of the collection by the old model that is asked for the new one."""
    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = {
            "store": MemoryStore(), "catalog": "sqlite:///catalog.db", "root": folder, "chunking": Chunking("whole"),
            "models": {model.info.name: model for model in (old, new)},
        }  # fmt: skip
        with Index(embedder=old, **given) as index:
            index.upsert(documents(name))
            with Index(embedder=new, migration=Migration(strategy), evaluation=evaluation, **given) as changed:
                yield changed


def quality(
    index: Index, collection: JudgedCollection, *, weights: dict[str, int] | None = None, **asked: Any
) -> float:
    """Mean nDCG@10 of what a reader gets, each query counted as often as ``weights`` says; nobody's log is written."""
    place, index._reader.place = index._reader.place, None
    rankings = {}
    for query in collection.judged:
        found = index.search(query.text, 10, principals=UNRESTRICTED, **asked)
        rankings[query.id] = rank_documents((hit.doc_id, hit.score) for hit in found)
    index._reader.place = place
    values = measure(collection, rankings, [MEASURE])[MEASURE]
    counts = weights or dict.fromkeys(values, 1)
    return float(np.average([values[i] for i in counts], weights=list(counts.values())))


def query_log(collection: JudgedCollection, length: int, seed: int = 0) -> list[str]:
    """Query ids as users ask them: the popular ones again and again (Zipf with exponent 1)."""
    chance = np.random.default_rng(seed)
    ids = [collection.judged[at].id for at in chance.permutation(len(collection.judged))]
    popularity = 1 / np.arange(1, len(ids) + 1)
    return [str(i) for i in chance.choice(ids, size=length, p=popularity / popularity.sum())]


def on_read(name: str, old: Embedder, new: Embedder, parts: Sequence[float]) -> list[tuple[float, float, float]]:
    """After each part of the log: the share of documents that are migrated, and that of the upgrade that is had."""
    collection = judged(name)
    log = query_log(collection, 3 * len(collection.judged))
    weights = {i: log.count(i) for i in dict.fromkeys(log)}
    texts = {query.id: query.text for query in collection.judged}
    with changing(name, "on_read", old, new) as index:
        index.apply()
        before, found, done = quality(index, collection, weights=weights), [], 0
        for part in parts:
            for i in log[done : round(part * len(log))]:
                index.search(texts[i], 10, principals=UNRESTRICTED)
                settle(index)
            done = round(part * len(log))
            found.append((part, index._catalog.counts(2).documents, quality(index, collection, weights=weights)))
        total = index._catalog.alive()
        index.apply()
        after = quality(index, collection, weights=weights, generation=2)
    return [(part, held / total, (value - before) / (after - before)) for part, held, value in found]


def rolling(name: str, old: Embedder, new: Embedder, shares: Sequence[float]) -> list[tuple[float, float, float]]:
    """After each share: nDCG@10, and the straight line between the two models.

    Documents are migrated in a random order, and in its reverse, and the mean is taken: one order gains by luck what
    the other loses, since it decides which queries gain first.
    """
    ids = [document.id for document in documents(name)]
    order = [ids[at] for at in np.random.default_rng(0).permutation(len(ids))]
    runs = [_rolling(name, old, new, shares, one) for one in (order, order[::-1])]
    return [(a[0], (a[1] + b[1]) / 2, a[2]) for a, b in zip(*runs, strict=True)]


def _rolling(
    name: str, old: Embedder, new: Embedder, shares: Sequence[float], order: Sequence[str]
) -> list[tuple[float, float, float]]:
    collection = judged(name)
    with changing(name, "rolling", old, new) as index:
        side, target = index._migrating, index._writer.create(index.recipe)
        side.begin(target)
        found, done = [], 0
        for share in shares:
            Placer(index._writer).place(target.number, order[done : round(share * len(order))])
            done = round(share * len(order))
            found.append((share, quality(index, collection)))
        index.apply()
        before, after = (quality(index, collection, generation=number) for number in (1, 2))
    return [(share, value, (1 - share) * before + share * after) for share, value in found]


def bridge(name: str, old: Embedder, new: Embedder) -> dict[str, Any]:
    """What is decided, and what was measured."""
    where = DATA / name
    evaluation = EvaluationSettings([CollectionFiles(name, where / "queries.jsonl", where / "qrels.tsv")])
    with changing(name, "bridge", old, new, evaluation=evaluation) as index:
        side, target = index._migrating, index._writer.create(index.recipe)
        side.begin(target)
        state = index.rollouts(1)[0].state
        return {key: value for key, value in state.items() if key != "map"} | {
            "served": quality(index, judged(name)), "live": quality(index, judged(name), generation=1),
        }  # fmt: skip


def settle(index: Index) -> None:
    """Wait until the background has placed what was returned."""
    if index._on_read is not None:
        assert index._on_read.settle(60.0), index._on_read.progress


def main(name: str = "scifact") -> None:
    """Print the tables."""
    old, new = WordLlamaEmbedder(64), WordLlamaEmbedder(256)
    print(f"rolling, {name}: share, {MEASURE}, straight line")
    for share, value, line in rolling(name, old, new, SHARES):
        print(f"  {share:4.0%}  {value:.3f}  {line:.3f}")
    print(f"on read, {name}: share of the log, of the documents, of the upgrade")
    for part, held, had in on_read(name, old, new, (0.1, 0.25, 0.5, 1.0)):
        print(f"  {part:4.0%}  {held:.0%}  {had:.0%}")
    print(f"bridge, {name}: {bridge(name, old, new)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
