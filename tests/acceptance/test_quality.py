"""Quality is real: measured through the whole pipeline it is that of the same vectors, searched exactly."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from regen import Chunking, Index
from regen.core.chunking import make_chunker, pieces
from regen.core.recipe import TextTemplate
from regen.embedders.wordllama import WordLlamaEmbedder
from regen.sources.jsonl import JsonlSource

MODEL = "wordllama/l2-supercat-256"
TEMPLATE = TextTemplate("{title}\n{text}")
EMPTY = {"cranfield": {"471", "995"}, "scifact": set[str]()}
CUTOFF = 10
Run = dict[str, dict[str, float]]
"""query -> document -> score"""


@dataclass
class Collection:
    """A judged collection."""

    name: str
    path: Path
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]

    @classmethod
    def read(cls, folder: Path) -> Collection:
        """Read the judged queries; skip where the collection is absent."""
        if not (folder / "corpus.jsonl").is_file():
            pytest.skip(f"no collection in {folder}")
        qrels: dict[str, dict[str, int]] = defaultdict(dict)
        for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
            query, document, score = line.split("\t")
            qrels[query][document] = int(score)
        asked = map(json.loads, (folder / "queries.jsonl").read_text().splitlines())
        return cls(
            folder.name,
            folder / "corpus.jsonl",
            {query["_id"]: query["text"] for query in asked if query["_id"] in qrels},
            dict(qrels),
        )

    @property
    def empty(self) -> set[str]:
        """Documents without title and text."""
        return EMPTY[self.name]

    def documents(self) -> list[tuple[str, str, str]]:
        """(id, title, text) of every document."""
        lines = map(json.loads, self.path.read_text(encoding="utf-8").splitlines())
        return [(line["_id"], line.get("title", ""), line.get("text", "")) for line in lines]


def ndcg(collection: Collection, run: Run) -> float:
    """nDCG@10 over all judged queries: one without any result counts as zero."""
    measure = ir_measures.nDCG @ CUTOFF
    qrels = [ir_measures.Qrel(q, d, s) for q, judged in collection.qrels.items() for d, s in judged.items()]
    docs = [ir_measures.ScoredDoc(q, d, s) for q, found in run.items() for d, s in found.items()]
    return float(ir_measures.calc_aggregate([measure], qrels, docs)[measure])


def best(scores: Mapping[str, float] | list[tuple[str, float]]) -> dict[str, float]:
    """A document's score is that of its best chunk; the first ten by score, then by id, as trec_eval breaks ties."""
    held: dict[str, float] = {}
    for doc_id, score in scores.items() if isinstance(scores, Mapping) else scores:
        held[doc_id] = max(score, held.get(doc_id, -np.inf))
    return dict(sorted(held.items(), key=lambda item: (item[1], item[0]), reverse=True)[:CUTOFF])


def exact_run(collection: Collection, chunking: Chunking) -> Run:
    """The run that numpy gives: the same texts, the same model, every chunk scored."""
    embedder = WordLlamaEmbedder.from_name(MODEL)
    chunker = make_chunker(chunking, embedder.token_starts)
    documents = collection.documents()
    owners: list[str] = []
    texts: list[str] = []
    for (doc_id, title, text), spans in zip(documents, chunker.split([d[2] for d in documents]), strict=True):
        for _, embedded, _ in pieces(text, spans, TEMPLATE, (title,)):
            owners.append(doc_id)
            texts.append(embedded)
    vectors = unit(embedder.embed_documents(texts))
    queries = unit(np.stack([embedder.embed_query(text) for text in collection.queries.values()]))
    scores = queries @ vectors.T
    return {
        query: best(list(zip(owners, row.tolist(), strict=True)))
        for query, row in zip(collection.queries, scores, strict=True)
    }


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0.0, 1.0, lengths)


def piped_run(index: Index, collection: Collection, k: int) -> Run:
    """The run that searching the index gives."""
    return {
        query: best([(hit.doc_id, hit.score) for hit in index.search(text, k=k)])
        for query, text in collection.queries.items()
    }


@pytest.mark.parametrize(
    ("name", "chunking", "k"),
    [
        ("cranfield", Chunking("whole"), 10),
        ("cranfield", Chunking("markdown", max_tokens=64), 60),
        ("scifact", Chunking("whole"), 10),
        pytest.param("scifact", Chunking("markdown", max_tokens=128), 40, marks=pytest.mark.slow),
    ],
    ids=lambda value: value.kind if isinstance(value, Chunking) else str(value),
)
def test_ndcg_is_that_of_exact_search(real_data: Path, tmp_path: Path, name: str, chunking: Chunking, k: int) -> None:
    """From the file to the hits: nDCG@10 within 0.005 of the same vectors in numpy, and no document lost silently."""
    collection = Collection.read(real_data / name)
    source = JsonlSource(collection.path)
    with Index(
        embedder=MODEL, source=source, text=TEMPLATE.template, chunking=chunking, store="lancedb://v",
        catalog="sqlite:///c.db", root=tmp_path,
    ) as index:  # fmt: skip
        assert index.sync().documents.added == len(collection.documents())
        lost = {letter.doc_id: letter.reason for letter in index.status().dead_letters}
        assert lost == dict.fromkeys(collection.empty, "the document has no text to embed")
        piped = ndcg(collection, piped_run(index, collection, k))
    exact = ndcg(collection, exact_run(collection, chunking))
    assert exact > 0.25, "the collection was read"
    assert piped == pytest.approx(exact, abs=0.005)


def test_a_query_without_results_counts_as_zero() -> None:
    """The mean is over the judged queries, not over the answered ones."""
    collection = Collection("two", Path(), {"a": "x", "b": "y"}, {"a": {"d": 1}, "b": {"d": 1}})
    assert ndcg(collection, {"a": {"d": 0.9}}) == 0.5


def test_ties_are_broken_as_trec_eval_does() -> None:
    """By score, then by the greater document id."""
    assert list(best({f"d{i}": 1.0 for i in range(10, 23)})) == [f"d{i}" for i in range(22, 12, -1)]
    assert best([("a", 0.1), ("b", 0.5), ("a", 0.7)]) == {"a": 0.7, "b": 0.5}
