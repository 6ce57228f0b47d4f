"""A first judged collection for a team that has none: proposals into a review file, accepted ones into a collection."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from regen.core.documents import Document
from regen.errors import BudgetExceeded, EvaluationError, JudgeError
from regen.evaluation.review import Review, export_review, parse_review, review_line
from regen.evaluation.starter import (
    EXCERPT,
    HEADINGS,
    MAX_OVERLAP,
    WRITE_QUERY,
    Candidate,
    Proposal,
    UsageRecord,
    propose_clicked,
    propose_known_items,
    read_written,
    sample_documents,
)
from regen.ports.judges import Writer

SPARE: Final = 2
"""So many documents are drawn for one written query that is wanted: some writings are of no use."""
FAILURES: Final = 3
"""So many failures of a writer in a row mean that it is not the document's fault."""


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """What was added to a review file, what is in it now by state, and what was passed over and why."""

    review: Path
    added: int
    known: int
    states: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"review": str(self.review)}


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """The files of a judged collection, how many queries they hold, and what a reader must know."""

    queries: Path
    qrels: Path
    count: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"queries": str(self.queries), "qrels": str(self.qrels)}


def add_known_items(
    review: str | Path,
    documents: Iterable[Document],
    *,
    limit: int = 100,
    seed: str = "regen",
    title_key: str = "title",
    headings: int = HEADINGS,
) -> ReviewReport:
    """Propose titles and headings of documents; see :func:`~regen.evaluation.starter.propose_known_items`."""
    known = read_review(review)  # read first: a file that cannot be read is told before the documents are
    proposal = propose_known_items(documents, limit=limit, seed=seed, title_key=title_key, headings=headings)
    return _added(Path(review), known, proposal)


def add_clicked(
    review: str | Path, records: Iterable[UsageRecord], *, limit: int = 100, min_clicks: int = 2, min_share: float = 0.2
) -> ReviewReport:
    """Propose what users asked and clicked; see :func:`~regen.evaluation.starter.propose_clicked`."""
    known = read_review(review)
    return _added(
        Path(review), known, propose_clicked(records, limit=limit, min_clicks=min_clicks, min_share=min_share)
    )


def add_written(
    review: str | Path,
    documents: Iterable[Document],
    writer: Writer,
    *,
    count: int = 50,
    seed: str = "regen",
    max_overlap: float = MAX_OVERLAP,
) -> ReviewReport:
    """Let a language model write one query for each of ``count`` documents, drawn by the seed.

    A document that a written query of the file names already is not written about again, so the same call a second
    time asks nothing. Writings that copy more than ``max_overlap`` of their words, or are no query, are passed over and
    counted, and another document is taken, of twice as many as are wanted. When the budget is used up, what was written
    is kept and a note says so. Raises JudgeError when the writer fails three times in a row; what it wrote before is
    kept as well.
    """
    known = read_review(review)
    done = {document for line in known.lines if line.origin == "written" for document in line.documents}
    drawn = sample_documents(documents, SPARE * count, seed)
    wanted = count - sum(document.id in done for document in drawn)
    candidates, passed, notes = list[Candidate](), Counter[str](), list[str]()
    try:
        written = _written((one for one in drawn if one.id not in done), writer, max_overlap, passed)
        candidates.extend(islice(written, max(0, wanted)))
    except BudgetExceeded as error:
        notes.append(f"{max(0, wanted - len(candidates)):,} more were wanted, but {error.message}")
    except JudgeError:
        _added(Path(review), known, Proposal(tuple(candidates)))
        raise
    notes += [f"{number:,} written queries {why}" for why, number in passed.items()]
    return _added(Path(review), known, Proposal(tuple(candidates), tuple(notes)))


def write_collection(review: str | Path, folder: str | Path) -> CollectionReport:
    """Write ``queries.jsonl`` and ``qrels.tsv`` of all accepted and edited queries into a folder, each file at once.

    Raises EvaluationError when nothing is accepted yet, or a line is wrong; then both files stay as they were.
    """
    exported = export_review(read_review(review), str(review))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    queries, qrels = folder / "queries.jsonl", folder / "qrels.tsv"
    _replace(queries, exported.queries)
    _replace(qrels, exported.qrels)
    return CollectionReport(queries, qrels, exported.count, exported.notes)


def read_review(review: str | Path) -> Review:
    """The review file, without lines if it is not there yet. Raises EvaluationError."""
    try:
        lines = Path(review).read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise EvaluationError(f"the review file cannot be read: {review}: {error.strerror or error}") from None
    return parse_review(lines, str(review))


def _written(
    documents: Iterable[Document], writer: Writer, max_overlap: float, passed: Counter[str]
) -> Iterator[Candidate]:
    """The queries that are of use, one a document at most; why others are not is counted in ``passed``."""
    failures = 0
    for document in documents:
        try:
            answer = writer.write(WRITE_QUERY, document.text[:EXCERPT])
        except JudgeError:
            failures += 1
            if failures == FAILURES:
                raise
            passed["failed"] += 1
            continue
        failures = 0
        found = read_written(answer, document, max_overlap)
        if isinstance(found, Candidate):
            yield found
        else:
            passed[found] += 1


def _added(review: Path, known: Review, proposal: Proposal) -> ReviewReport:
    """Append what the file does not have yet: nothing that is there is ever written again."""
    new = known.missing(proposal.candidates)
    if new:
        _append(review, "".join(review_line(candidate) + "\n" for candidate in new))
    states = known.states()
    states["pending"] += len(new)
    return ReviewReport(review, len(new), len(proposal.candidates) - len(new), states, proposal.notes)


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # an editor that ends no last line
                text = "\n" + text
        file.write(text.encode())


def _replace(path: Path, text: str) -> None:
    """Write a file beside and move it over: a reader sees the old one or the new one."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
