"""Team-draft interleaving: two (or more) rankings answer one query together, and the clicks say which one is preferred.

Radlinski, Kurup, Joachims, "How does clickthrough data reflect retrieval quality?" (CIKM 2008); for more than two
rankings Schuth, Sietsma, Whiteson, Lefortier, de Rijke, "Multileaved comparisons" (CIKM 2014). In each round every
team, in an order drawn from the seed, places its best document that is not shown yet; the same seed, the same list.
A click counts the less the further down it is, where what two rankings place differs less in worth and careless users
click as often (weights of clicks raise the sensitivity: Kharitonov, Macdonald, Serdyukov, Ounis, CIKM 2015).

Two things are no team's, so that a click on them says nothing: the documents that all rankings begin with alike (a coin
would decide whose they are: noise), and what is left of a longer ranking when another one has ended (that team would
win for having more slots).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from math import sqrt

from regen.errors import EvaluationError
from regen.evaluation.routing import unit

BASELINE = "baseline"
CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class Interleaved:
    """What was shown: documents, best first, and for each the team that placed it (None: nobody's)."""

    documents: tuple[str, ...]
    teams: tuple[str | None, ...]
    names: tuple[str, ...] = (BASELINE, CANDIDATE)

    def credit(self, clicked: Iterable[str]) -> dict[str, int]:
        """How many clicked documents each team placed; a document clicked twice counts once.

        Raises EvaluationError for a document that was not shown.
        """
        owner = dict(zip(self.documents, self.teams, strict=True))
        credit = dict.fromkeys(self.names, 0)
        for doc_id in set(clicked):
            if doc_id not in owner:
                raise EvaluationError(
                    f"a click on {doc_id!r}, which was not among the {len(owner)} documents shown",
                    hint="send feedback with the query id under which the document was shown",
                )
            team = owner[doc_id]
            if team is not None:
                credit[team] += 1
        return credit


@dataclass(slots=True)
class _Draft:
    """A list under construction: who placed what, and what each team has left."""

    rest: dict[str, list[str]]
    limit: int
    placed: dict[str, str | None] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return len(self.placed) >= self.limit

    @property
    def playable(self) -> bool:
        """Whether every team can place a document in the next round, whichever order is drawn.

        Else the draw would decide not only who comes first but also whether a round counts, which favours one team.
        """
        return all(self._safe(team) for team in self.rest)

    def _safe(self, team: str) -> bool:
        """Whether the others cannot take all that the team has left, before its turn: one document each."""
        own, teams = self.rest[team], len(self.rest)
        reach = {doc_id for other in self.rest if other != team for doc_id in self.rest[other][:teams]}
        return len(own) >= teams or not reach.issuperset(own)

    def take(self, team: str) -> None:
        """Place the team's best document that is not shown yet."""
        doc_id = self.rest[team][0]
        self.placed[doc_id] = team
        self._forget(doc_id)

    def give(self, doc_id: str) -> None:
        """Place a document for nobody."""
        self.placed[doc_id] = None
        self._forget(doc_id)

    def _forget(self, doc_id: str) -> None:
        for documents in self.rest.values():
            if doc_id in documents:
                documents.remove(doc_id)


def team_draft(rankings: Mapping[str, Sequence[str]], *, seed: str, k: int) -> Interleaved:
    """Interleave rankings of document ids, best first, into one list of at most ``k`` documents.

    A ranking may name a document more than once (several of its chunks were found): its best place counts. ``seed`` is
    the query's own id: each query must draw anew, or one team leads for all who ask the same.

    Raises EvaluationError for fewer than two rankings, or ``k`` below 1.
    """
    if len(rankings) < 2 or k < 1:
        raise EvaluationError(
            f"cannot interleave {len(rankings)} rankings into {k} places",
            hint="give at least two rankings by name, and k of 1 or more",
        )
    draft = _Draft({name: list(dict.fromkeys(documents)) for name, documents in rankings.items()}, k)
    for doc_id in common_prefix(list(draft.rest.values()))[:k]:
        draft.give(doc_id)
    _play(draft, seed)
    for doc_id in _left_over([draft.rest[name] for name in sorted(draft.rest)]):
        if draft.full:
            break
        draft.give(doc_id)
    return Interleaved(tuple(draft.placed), tuple(draft.placed.values()), tuple(rankings))


def common_prefix(rankings: Sequence[Sequence[str]]) -> list[str]:
    """The documents that all rankings begin with, in the same order."""
    places = zip(*rankings, strict=False)
    return [place[0] for place in takewhile(lambda place: len(set(place)) == 1, places)]


def outcome(
    shown: Interleaved, clicked: Collection[str], *, candidate: str = CANDIDATE, baseline: str = BASELINE
) -> float:
    """What one query says, from 1 (its clicks prefer the candidate) to -1 (the baseline); 0 is neither.

    The click at place r counts 1/√r for the team that placed the document; the sum is cut at 1 and -1. Whoever clicks
    by place alone prefers nobody: in every round each team is as likely to have the first of the two places.
    """
    shown.credit(clicked)  # refuses what was not shown
    for name in (candidate, baseline):
        if name not in shown.names:
            raise EvaluationError(f"no ranking is named {name!r}", hint=f"interleaved were {', '.join(shown.names)}")
    wanted, sides = set(clicked), {candidate: 1.0, baseline: -1.0}
    won = sum(
        sides.get(team or "", 0.0) / sqrt(place)
        for place, (doc_id, team) in enumerate(zip(shown.documents, shown.teams, strict=True), 1)
        if doc_id in wanted
    )
    return max(-1.0, min(1.0, won))


def _play(draft: _Draft, seed: str) -> None:
    """Rounds of one document a team, as long as there is room."""
    turn = 0
    while not draft.full and draft.playable:
        for team in sorted(draft.rest, key=partial(_drawn, seed, turn)):
            if not draft.full:
                draft.take(team)
        turn += 1


def _drawn(seed: str, turn: int, team: str) -> tuple[float, str]:
    return unit(seed, str(turn), team), team


def _left_over(rests: Sequence[Sequence[str]]) -> list[str]:
    """What the rankings have left, taken in turns by place."""
    depth = max(map(len, rests))
    return list(dict.fromkeys(rest[place] for place in range(depth) for rest in rests if place < len(rest)))
