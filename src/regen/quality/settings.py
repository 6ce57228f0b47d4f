"""What an evaluation is made of: collections, measures, the gate, and how thoroughly live data is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from regen.core.documents import canonical_json, digest
from regen.errors import EvaluationError
from regen.evaluation.answers import ANSWER_MEASURES
from regen.evaluation.conditions import MEASURES, Condition, MeasureCondition
from regen.evaluation.judged import JudgedCollection
from regen.evaluation.known import KnownQuery, read_known
from regen.evaluation.reading import read_collection
from regen.ports.judges import Writer
from regen.quality.answering import Judging, answers_digest


@dataclass(frozen=True, slots=True)
class CollectionFiles:
    """A judged collection that lies in two files."""

    name: str
    queries: Path
    qrels: Path

    def read(self) -> JudgedCollection:
        """Read both files. Raises EvaluationError for what cannot be read or judged."""
        with _opened(self.queries, self.name, "queries") as queries, _opened(self.qrels, self.name, "qrels") as qrels:
            return read_collection(
                self.name, queries, qrels, queries_file=str(self.queries), qrels_file=str(self.qrels)
            )


@contextmanager
def _opened(path: Path, name: str, part: str) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise EvaluationError(
            f"the {part} of collection {name!r} cannot be read: {path}: {error.strerror or error}",
            hint=f"evaluation.collections names a file with {part} by a path that starts at regen.yaml's folder",
        ) from None
    with file:
        yield file


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What a candidate is measured by.

    ``collections`` are judged collections or where they lie. ``measures`` are reported besides those that the gate's
    conditions name. ``known`` are queries whose documents are known, or the file that they lie in. ``searches`` is how
    many searches per generation the latency is measured on. ``max_age`` is how long, in seconds, an evaluation may lie
    back that a promotion rests on. ``seed`` makes resampling repeatable. ``answers`` are paths of files with answers,
    by collection (``{generation}`` in a path stands for the generation's number), which ``judge`` judges.
    ``writer`` makes the model that writes queries for a first collection.
    """

    collections: Sequence[JudgedCollection | CollectionFiles] = ()
    measures: tuple[str, ...] = MEASURES
    gate: tuple[Condition, ...] = ()
    searches: int = 100
    max_age: float = 3_600.0
    seed: int = 0
    known: Sequence[KnownQuery] | Path = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    judge: Judging | None = None
    writer: Callable[[], Writer] | None = None

    def all_measures(self) -> tuple[str, ...]:
        """The measures of rankings to compute, the gate's own first."""
        about = [item for item in self.gate if isinstance(item, MeasureCondition)]
        named = dict.fromkeys([*(item.measure for item in about), *self.measures])
        return tuple(name for name in named if name not in ANSWER_MEASURES)

    def judged(self) -> list[JudgedCollection]:
        """The collections, read from their files where need be. Raises EvaluationError."""
        found = [item if isinstance(item, JudgedCollection) else item.read() for item in self.collections]
        names = [item.name for item in found]
        if twice := {name for name in names if names.count(name) > 1}:
            raise EvaluationError(f"two judged collections are called {', '.join(sorted(twice))}", hint="rename one")
        return found

    def known_queries(self) -> tuple[KnownQuery, ...]:
        """The known queries, read from their file where need be. Raises EvaluationError."""
        if not isinstance(self.known, Path):
            return tuple(self.known)
        try:
            lines = self.known.read_bytes().splitlines()
        except OSError as error:
            raise EvaluationError(
                f"the known queries cannot be read: {self.known}: {error.strerror or error}",
                hint="evaluation.known_queries names a file by a path that starts at regen.yaml's folder",
            ) from None
        return read_known(lines, str(self.known))

    def fingerprint(self, collections: Sequence[JudgedCollection], generations: Sequence[int] = ()) -> str:
        """What a verdict rests on: the gate, the measures, every query, judgment, known query and answer."""
        parts = (
            [str(item) for item in self.gate],
            self.all_measures(),
            self.seed,
            [str(i) for i in self.known_queries()],
            [self.judge.key if self.judge else "", answers_digest(self.answers, generations)] if self.answers else [],
        )
        judged = [
            (item.name, [(query.id, query.text, query.tags) for query in item.judged], item.qrels)
            for item in collections
        ]
        return digest(canonical_json((parts, judged))).hex()[:16]
