"""What the demo does, step by step, through the public Python API only; each says what must hold, and checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import regen
from regen.cli.demo_bench import Bench
from regen.cli.demo_steps import Check, Step, embedded, found, free, not_found, rank_of
from regen.cli.demo_upgrade import Upgrade
from regen.cli.quantities import counted
from regen.core.documents import Document
from regen.core.results import Progress
from regen.errors import ConfigError

PARAGRAPH: Final = (
    "Seventeen penguins guard the amber lighthouse. The lighthouse belongs to these animals: the penguins trim "
    "its lamp, count its ships and feed its keeper. No other animals may enter it: the penguins guard it."
)
TELLTALE: Final = "penguins guard"
ASKED_FOR: Final = "which animals guard the lighthouse?"
TEAM: Final = "team:security"
_K: Final = 10
_ROLES: Final = 5
_MOST_EMBEDDED_BY_AN_EDIT: Final = 3


class Demonstration:
    """Runs the steps over a bench's documents: each changes the source, syncs, and looks whether search followed."""

    def __init__(self, bench: Bench, index: regen.Index, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        self._index = index
        self._used: set[str] = set()
        self._questions: dict[str, str] = {}

    def steps(self, progress: Callable[[Progress], None] | None = None) -> Iterator[Step]:
        """All steps in order. Raises ConfigError when there are too few documents to play with."""
        yield self._load(progress)
        for question, expected in self._bench.questions:
            yield self._ask(question, expected)
        edited = self._cast(lambda _: True, "edit")
        first_revision = self._index.history(edited.id, limit=1)[0].revision
        yield self._edit(edited)
        yield self._rename(self._cast(lambda each: not self._bench.named_by_id(each), "rename", fallback=True))
        yield self._delete(self._cast(lambda _: True, "delete"))
        yield from self._labelling()
        yield self._restore(edited, first_revision)
        yield self._rest()
        yield from Upgrade(self._bench, self._index, edited.id, self._folder).steps(progress)
        yield self._verify()

    # ── the steps ───────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, progress: Callable[[Progress], None] | None) -> Step:
        result = self._index.sync(progress=progress)
        added = result.documents.added
        if added < _ROLES:
            raise ConfigError(
                f"the demo needs at least {_ROLES} documents to change; there are {added}",
                hint="without DOCS it takes the documentation of the Python that runs it",
            )
        status = self._index.status()
        placed = status.documents == added and status.freshness.pending == 0
        return Step("index", "every document, for the first time", result, [
            Check(placed, f"all {counted(added, 'document')} can be searched"),
        ])  # fmt: skip

    def _ask(self, question: str, expected: str) -> Step:
        answer = self._index.search(question, k=_K)
        ranks = [rank for rank, hit in enumerate(answer.hits, start=1) if hit.doc_id.startswith(expected)]
        told = f"{expected} answers, rank {ranks[0]}" if ranks else f"nothing of {expected} among the first {_K}"
        return Step("ask", question, search=answer, checks=[Check(bool(ranks), told)])

    def _edit(self, document: Document) -> Step:
        before = self._rank(ASKED_FOR, document.id, saying=TELLTALE)
        self._bench.append(document.id, PARAGRAPH)
        result = self._index.sync()
        rank = self._rank(ASKED_FOR, document.id, saying=TELLTALE)
        few = 0 < result.embedded_texts <= _MOST_EMBEDDED_BY_AN_EDIT
        chunks = counted(result.chunks.written + result.chunks.reused, "chunk")
        return Step("edit", f"{document.id}: one paragraph added", result, [
            found(ASKED_FOR, rank),
            Check(before is None, "nothing like it was found before"),
            Check(few, f"{embedded(result)}, of {chunks} it has now"),
        ])  # fmt: skip

    def _rename(self, document: Document) -> Step:
        question = self._questions[document.id]
        renamed = self._bench.rename(document.id)
        result = self._index.sync()
        free = not self._bench.named_by_id(document)
        cost = (
            Check(result.embedded_texts == 0, f"{embedded(result)}: its vectors were copied")
            if free
            else Check(result.embedded_texts > 0, f"{embedded(result)}: its title is its name, and titles are embedded")
        )
        return Step("rename", f"{document.id} → {renamed}", result, [
            found(question, self._rank(question, renamed)),
            Check(self._rank(question, document.id) is None, "the old name is found no more"),
            cost,
        ])  # fmt: skip

    def _delete(self, document: Document) -> Step:
        question = self._questions[document.id]
        self._bench.delete(document.id)
        result = self._index.sync()
        return Step("delete", document.id, result, [
            not_found(question, self._rank(question, document.id)),
            free(result),
        ])  # fmt: skip

    def _labelling(self) -> Iterator[Step]:
        if not any(self._bench.takes_labels(document) for document in self._bench.documents()):
            yield Step(
                "metadata", "skipped, and access too: plain text carries neither; Markdown does, as front matter"
            )
            return
        yield self._label(self._cast(self._bench.takes_labels, "metadata"))
        yield self._restrict(self._cast(self._bench.takes_labels, "access"))

    def _label(self, document: Document) -> Step:
        where = {"reviewed": "yes"}
        before = self._index.search(self._questions[document.id], k=_K, where=where).hits
        self._bench.label(document.id, "reviewed", "yes")
        result = self._index.sync()
        labelled = {hit.doc_id for hit in self._index.search(self._questions[document.id], k=_K, where=where).hits}
        return Step("metadata", f"{document.id}: reviewed=yes", result, [
            Check(labelled == {document.id} and not before, "a search where reviewed=yes finds it, and only it"),
            free(result),
        ])  # fmt: skip

    def _restrict(self, document: Document) -> Step:
        question = self._questions[document.id]
        self._bench.restrict(document.id, [TEAM])
        result = self._index.sync()
        team = self._rank(question, document.id, principals=[TEAM])
        return Step("access", f"{document.id}: for {TEAM} only", result, [
            not_found(question, self._rank(question, document.id), "the public"),
            Check(team is not None, f"{TEAM} finds it" + (f", rank {team}" if team else ": not found")),
            Check(self._rank(question, document.id, principals=["team:other"]) is None, "team:other does not"),
            free(result),
        ])  # fmt: skip

    def _restore(self, document: Document, revision: int) -> Step:
        result = self._index.restore(document.id, revision)
        question = self._questions[document.id]
        rank = self._rank(question, document.id)
        return Step("restore", f"{document.id}: as it was at revision {revision:,}", result, [
            not_found(ASKED_FOR, self._rank(ASKED_FOR, document.id, saying=TELLTALE)),
            Check(rank is not None, f"what it said before is found, rank {rank}" if rank else "what it said is lost"),
        ])  # fmt: skip

    def _rest(self) -> Step:
        result = self._index.sync()
        compared = counted(result.documents.unchanged, "document")
        return Step("sync", "nothing has changed in the source", result, [
            Check(result.documents.changed == 0, f"{compared} compared, none touched"),
            Check(result.embedded_texts == result.chunks.written == 0, "0 texts embedded, 0 chunks written"),
        ])  # fmt: skip

    def _verify(self) -> Step:
        report, status = self._index.verify(), self._index.status()
        behind = status.freshness.pending + status.freshness.deleted_still_present
        return Step("verify", "catalog and vector store, point by point", checks=[
            Check(report.consistent, f"{counted(report.points, 'point')} compared: consistent" if report.consistent
                  else f"not consistent: {'; '.join(report.details) or report.to_dict()}"),
            Check(behind == 0, f"status: {counted(status.documents, 'document')} in step"),
        ])  # fmt: skip

    # ── how ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _rank(self, question: str, doc_id: str, principals: list[str] | None = None, *, saying: str = "") -> int | None:
        """The rank of the first hit that is of the document (and says this), None when no hit is."""
        return rank_of(self._index.search(question, k=_K, principals=principals), doc_id, saying=saying)

    def _cast(self, fits: Callable[[Document], bool], role: str, *, fallback: bool = False) -> Document:
        """A document for a role: one that no other step has changed, and that a question finds."""
        for document in self._bench.documents():
            if document.id not in self._used and fits(document) and self._askable(document):
                self._used.add(document.id)
                return document
        if fallback:
            return self._cast(lambda _: True, role)
        raise ConfigError(
            f"the demo found no document left to {role}: too few that a search by their own words finds",
            hint="without DOCS it takes the documentation of the Python that runs it",
        )

    def _askable(self, document: Document) -> bool:
        for question in self._bench.questions_for(document):
            if question and self._rank(question, document.id) is not None:
                self._questions[document.id] = question
                return True
        return False
