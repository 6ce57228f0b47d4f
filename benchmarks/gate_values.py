"""Per-query values of real systems, for the honesty test and the power curve of the gate.

    python -m benchmarks.gate_values > tests/evaluation/per_query.tsv

Each collection's documents (title and text, whole) are embedded by three models that need no network, searched exactly
by cosine, and measured. scifact has 300 judged queries, cranfield 225. The data is found as ../shared/data, or in the
folder that REGEN_DATA names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from regen.evaluation.judged import JudgedCollection
from regen.evaluation.measures import measure
from regen.evaluation.reading import read_collection
from regen.registry import make_embedder
from regen.spaces.vectors import normalize

COLLECTIONS = ("cranfield", "scifact")
MODELS = ("hashing/512", "wordllama/l2-supercat-64", "wordllama/l2-supercat-256")
MEASURES = ("nDCG@10", "RR@10", "R@100")
DEPTH = 100


def data_folder() -> Path:
    named = os.environ.get("REGEN_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        sys.exit(f"no data in {folder}; REGEN_DATA names another folder")
    return folder


def read(folder: Path) -> JudgedCollection:
    queries = (folder / "queries.jsonl").read_bytes().splitlines()
    return read_collection(folder.name, queries, (folder / "qrels.tsv").read_bytes().splitlines())


def search(folder: Path, collection: JudgedCollection, model: str) -> dict[str, list[tuple[str, float]]]:
    """The best documents of each judged query, by exact cosine."""
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_bytes().splitlines()]
    embedder = make_embedder(model)
    vectors = normalize(embedder.embed_documents([f"{each['title']}\n{each['text']}" for each in documents]))
    found = {}
    for query in collection.judged:
        scores = vectors @ normalize(embedder.embed_query(query.text)[None])[0]
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        found[query.id] = [(documents[row]["_id"], float(scores[row])) for row in best]
    return found


def main() -> None:
    print("collection", "query", *(f"{model} {name}" for model in MODELS for name in MEASURES), sep="\t")
    for name in COLLECTIONS:
        folder = data_folder() / name
        collection = read(folder)
        values = [measure(collection, search(folder, collection, model), MEASURES) for model in MODELS]
        for query in collection.judged:
            row = [f"{by_measure[each][query.id]:.4g}" for by_measure in values for each in MEASURES]
            print(name, query.id, *row, sep="\t")


if __name__ == "__main__":
    main()
