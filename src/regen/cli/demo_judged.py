"""The demo's judged queries: made of its own documents where there are none, as a team would make its first ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import regen
from regen.cli.quantities import counted
from regen.core.documents import Document
from regen.verbs.queries import REVIEW

TITLES: Final = 100
FEWEST: Final = 12
"""With fewer titles and headings the beginnings of documents are asked as well."""
_BEGINNINGS: Final = 30


@dataclass(frozen=True, slots=True)
class Collected:
    """How many judged queries there are, and where they come from."""

    count: int
    told: str


def collect_starter(
    index: regen.Index, folder: Path, documents: Sequence[Document], known: Mapping[str, Sequence[str]]
) -> Collected:
    """A starter collection below a folder: titles and headings as proposed, and questions with known answers.

    A team would read the review file; the demo accepts all of it.
    """
    proposed = sum(report.added for report in index.propose_queries(titles=TITLES))
    review = folder / REVIEW
    lines = [json.loads(line) for line in review.read_text(encoding="utf-8").splitlines()] if proposed else []
    asked = {question: list(answers) for question, answers in known.items() if answers}
    if proposed + len(asked) < FEWEST:
        asked |= {beginning(document): [document.id] for document in documents[:_BEGINNINGS]}
    added = [{"query": question, "documents": answers} for question, answers in asked.items()]
    accepted = [{**line, "state": "accepted"} for line in lines]
    review.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*accepted, *added])
    review.write_text(text, encoding="utf-8")
    written = index.write_queries()
    told = [f"{counted(proposed, 'title or heading', 'titles and headings')} asked"] if proposed else []
    told += [f"{counted(len(added), 'question')} with known answers"] if added else []
    return Collected(written.count, " and ".join(told))


def beginning(document: Document) -> str:
    """The title and the first words of a document."""
    return f"{document.metadata.get('title', '')}: {' '.join(document.text[:400].split())[:200]}"
