"""Simulated users who click by the position-based model, and the rankings that they are shown.

A user looks at place r with probability (1 / r) ** eta, and clicks what is looked at with a probability that depends on
whether it is relevant (Richardson, Dominowska, Ragno 2007; Craswell, Zoeter, Taylor, Ramsey 2008). Everything is drawn
for many runs at once: arrays of shape (runs, queries).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from regen.embedders.wordllama import WordLlamaEmbedder
from regen.evaluation.evidence import BETS, WEIGHTS, EdgeSide, payments
from regen.evaluation.interleave import BASELINE, CANDIDATE, team_draft
from regen.evaluation.sequential import GRADES
from regen.spaces.vectors import normalize

Rankings: TypeAlias = list[list[str]]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
DEPTH = 10


@dataclass(frozen=True)
class Users:
    """How users look and click. The defaults are those of attentive but fallible users."""

    eta: float = 1.0
    relevant: float = 0.9
    other: float = 0.05

    def clicks(self, relevant: Bools, generator: np.random.Generator) -> Bools:
        """Clicks on shown lists: ``relevant`` of shape (..., depth), best place first."""
        looked = (1.0 / np.arange(1, relevant.shape[-1] + 1)) ** self.eta
        return generator.random(relevant.shape) < looked * np.where(relevant, self.relevant, self.other)


@dataclass(frozen=True)
class Judged:
    """Queries with the relevant documents of each, and rankings of them by name."""

    relevant: list[set[str]]
    rankings: dict[str, Rankings]

    def grades(self, name: str) -> Bools:
        """Whether each shown document is relevant: (queries, depth)."""
        return _grades(self.relevant, self.rankings[name])


def wordllama_scifact(folder: Path, dimensions: Sequence[int] = (64, 128, 256)) -> Judged:
    """The first ten documents of every judged query of scifact by exact search, for each number of dimensions."""
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    relevant: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query_id, doc_id, grade = line.split("\t")
        if int(grade) > 0:
            relevant[query_id].add(doc_id)
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [query for query in map(json.loads, lines) if query["_id"] in relevant]
    embedder = WordLlamaEmbedder.from_name("wordllama/l2-supercat-256")
    held = embedder.embed_documents([f"{document['title']}\n{document['text']}" for document in documents])
    asked = np.stack([embedder.embed_query(query["text"]) for query in queries])
    ids = np.array([document["_id"] for document in documents])
    return Judged(
        [relevant[query["_id"]] for query in queries],
        {str(size): _ranked(asked[:, :size], held[:, :size], ids) for size in dimensions},
    )


def _ranked(asked: NDArray[np.float32], held: NDArray[np.float32], ids: NDArray[np.str_]) -> Rankings:
    scores = normalize(asked) @ normalize(held).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    return [ids[row].tolist() for row in best]


def _grades(relevant: Sequence[set[str]], rankings: Rankings) -> Bools:
    return np.array([[doc_id in wanted for doc_id in row] for wanted, row in zip(relevant, rankings, strict=True)])


@dataclass(frozen=True)
class Interleavings:
    """Every query interleaved under many seeds: relevance and team (+1 candidate, -1 baseline, 0 nobody)."""

    relevant: Bools
    teams: Ints

    @classmethod
    def of(cls, judged: Judged, baseline: str, candidate: str, seeds: int = 32) -> Interleavings:
        """Arrays of shape (queries, seeds, depth), made by the product's own team draft."""
        sign = {CANDIDATE: 1, BASELINE: -1, None: 0}
        relevant, teams = [], []
        for query, wanted in enumerate(judged.relevant):
            pair = {BASELINE: judged.rankings[baseline][query], CANDIDATE: judged.rankings[candidate][query]}
            shown = [team_draft(pair, seed=f"{query}/{seed}", k=DEPTH) for seed in range(seeds)]
            relevant.append([[doc_id in wanted for doc_id in one.documents] for one in shown])
            teams.append([[sign[team] for team in one.teams] for one in shown])
        return cls(np.array(relevant), np.array(teams))

    def credits(self, users: Users, size: tuple[int, int], generator: np.random.Generator) -> Floats:
        """The outcome of ``size`` = (runs, queries) random queries under random seeds, as the product's ``outcome``."""
        query = generator.integers(0, self.relevant.shape[0], size)
        seed = generator.integers(0, self.relevant.shape[1], size)
        clicks = users.clicks(self.relevant[query, seed], generator)
        counted = self.teams[query, seed] / np.sqrt(np.arange(1, DEPTH + 1))
        return np.asarray(np.clip((clicks * counted).sum(axis=-1), -1.0, 1.0))


def clicked(judged: Judged, name: str, users: Users, size: tuple[int, int], generator: np.random.Generator) -> Bools:
    """Whether each of ``size`` = (runs, queries) random queries, answered by one ranking, got a click at all."""
    grades = judged.grades(name)
    return np.asarray(users.clicks(grades[generator.integers(0, len(grades), size)], generator).any(axis=-1))


def preferring(credits_: Floats, side: EdgeSide, share: float = 0.5) -> Floats:
    """The evidence of runs of credits (runs, queries) after every query, as ``Preference`` weighs it."""
    graded = np.rint(credits_ * GRADES) / GRADES
    wealth: Floats | None = None
    for bet, weight in zip(BETS, WEIGHTS, strict=True):
        one = np.cumsum(np.log1p(payments(graded, share, side, bets=np.array(bet))), axis=1) + np.log(weight)
        wealth = one if wealth is None else np.logaddexp(wealth, one)
    assert wealth is not None
    return wealth


def first_crossing(evidence: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """After how many looks each run's evidence first reached 1 / alpha: shape (runs,), infinity for never."""
    crossed = evidence >= -np.log(alpha)
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1.0, np.inf)
