"""A judged collection as people publish it: the demo on a folder with corpus.jsonl, queries.jsonl and qrels.tsv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import regen
from regen.cli.demo_bench import MemoryBench
from regen.cli.demo_folder import Gate
from regen.cli.demo_judged import Collected, beginning
from regen.cli.quantities import counted
from regen.core.documents import Document
from regen.quality.settings import CollectionFiles

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels.tsv"
_TELLING: Final = 100
"""A text of fewer characters says too little to be asked for."""


def is_judged(folder: Path) -> bool:
    """Whether a folder is a judged collection in BEIR's form."""
    return all((folder / name).is_file() for name in (CORPUS, QUERIES, QRELS))


class JudgedBench(MemoryBench):
    """The documents of a judged collection, each as one chunk, and its own queries. Its folder is only read.

    Raises EvaluationError for queries and judgments that cannot be read.
    """

    def __init__(self, docs: Path, folder: Path) -> None:
        place = docs.resolve()
        self._judged = CollectionFiles(place.name, place / QUERIES, place / QRELS).read()
        self._original: set[str] = set()
        super().__init__(folder, {"kind": "jsonl", "path": str(place / CORPUS)})
        self.title = f"the judged collection in {docs}"
        self.gate = Gate(
            name=place.name,
            queries=str(place / QUERIES),
            qrels=str(place / QRELS),
            bound="min_lift: 0.0",
            chunking="{kind: whole, max_tokens: 512}",
        )

    def open(self) -> regen.Index:
        """As any in memory; what the documents are called at first is kept."""
        index = super().open()
        self._original = {*self._source.documents}
        return index

    def collect(self, index: regen.Index) -> Collected:  # noqa: ARG002 - its queries are there
        """Count what is judged."""
        graded = sum(map(len, self._judged.qrels.values()))
        return Collected(len(self._judged.judged), f"{counted(graded, 'judgment')}, as they came with the documents")

    def documents(self) -> list[Document]:
        """The shortest that say anything, for what is added to them is most of them, and that nobody has judged."""
        judged = {name for grades in self._judged.qrels.values() for name in grades}
        telling = [
            document
            for document in self._source.documents.values()
            if len(document.text) >= _TELLING and document.id in self._original - judged
        ]
        return sorted(telling, key=lambda document: len(document.text))[:50]

    def questions_for(self, document: Document) -> Sequence[str]:
        """Its title and beginning."""
        return [beginning(document)]
