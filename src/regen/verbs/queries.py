"""The verbs of a first judged collection: propose queries from what the index holds, and write what was accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from regen.core.documents import Document
from regen.core.results import Progress
from regen.errors import ConfigError
from regen.ports.catalog import Catalog
from regen.serving.reading import ReadSide

if TYPE_CHECKING:
    from regen.quality.settings import EvaluationSettings
    from regen.quality.starter import CollectionReport, ReviewReport

REVIEW = "eval/review.jsonl"
"""Where proposals wait for somebody to read them, below the folder of the index."""
MOST_SEARCHES = 100_000
"""So many logged searches are looked at, the newest first."""
_PAGE = 500


class QueryVerbs:
    """Proposals come from the index's own documents and its query log; nothing counts before it is accepted."""

    alias: str
    _catalog: Catalog
    _reader: ReadSide
    _root: Path
    _evaluation: EvaluationSettings | None

    def propose_queries(
        self,
        review: str | Path = REVIEW,
        *,
        titles: int = 0,
        written: int = 0,
        clicked: int = 0,
        seed: str = "regen",
        progress: Callable[[Progress], None] | None = None,
    ) -> list[ReviewReport]:
        """Add so many proposals of each origin to a review file; a report for each that was asked for.

        ``titles`` are titles and headings of documents, ``written`` queries come from the configured writer,
        ``clicked`` from the query log. What the file holds already is not proposed again. Documents are read in pages.
        Raises EvaluationError for a file that cannot be read, ConfigError without a writer, JudgeError when it fails.
        """
        from regen.quality.starter import add_clicked, add_known_items, add_written  # noqa: PLC0415 - heavy

        path, reports = self._root / review, []
        if titles:
            reports.append(add_known_items(path, self._living(progress), limit=titles, seed=seed))
        if clicked:
            self._reader.log.flush()
            log = self._catalog.logged_queries(self.alias, limit=MOST_SEARCHES)
            reports.append(add_clicked(path, log, limit=clicked))
        if written:
            make = self._evaluation.writer if self._evaluation is not None else None
            if make is None:
                raise ConfigError(
                    "there is no model that could write queries",
                    hint="name one: `evaluation: {writer: {model: openai/NAME}}`",
                )
            reports.append(add_written(path, self._living(progress), make(), count=written, seed=seed))
        return reports

    def review_states(self, review: str | Path = REVIEW) -> dict[str, int]:
        """How many queries of a review file are pending, accepted, rejected and edited. Raises EvaluationError."""
        from regen.quality.starter import read_review  # noqa: PLC0415 - heavy

        return read_review(self._root / review).states()

    def write_queries(self, review: str | Path = REVIEW, folder: str | Path | None = None) -> CollectionReport:
        """Write what was accepted as a judged collection, into the review file's folder or another one.

        Raises EvaluationError when nothing is accepted yet, or a line is wrong.
        """
        from regen.quality.starter import write_collection  # noqa: PLC0415 - heavy

        path = self._root / review
        return write_collection(path, path.parent if folder is None else self._root / folder)

    def _living(self, progress: Callable[[Progress], None] | None) -> Iterator[Document]:
        total, done = self._catalog.alive(), 0
        for page in self._catalog.living(_PAGE):
            yield from page
            done += len(page)
            if progress is not None:
                progress(Progress("read", done, max(total, done)))
