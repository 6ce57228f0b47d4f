"""Two scored lists made one, by document. Ties go as in trec_eval: by score, then by id, both descending.

Here are the merges of two *complete* lists (dual search: both generations hold every document), and de-duplication.
While a generation is being filled each document has one valid score only: that merge is ``regen.spaces.rolling``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from regen.errors import ConfigError
from regen.spaces.calibrate import Scores, isotonic, moment

Method: TypeAlias = Literal["min_max", "z_score", "reciprocal_rank", "calibrated"]
METHODS: Final[tuple[Method, ...]] = ("min_max", "z_score", "reciprocal_rank", "calibrated")
RANK_CONSTANT: Final = 60
"""Of reciprocal rank fusion, as published."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Documents with scores, higher for better, in any order. An id is named once; ``scores`` has shape (len(ids),)."""

    ids: tuple[str, ...]
    scores: Scores

    @classmethod
    def of(cls, scores: Mapping[str, float]) -> Scored:
        """From a mapping of id to score."""
        return cls(tuple(scores), np.array(list(scores.values()), dtype=np.float64))

    def ranked(self) -> Scored:
        """Best first; equal scores by id, descending."""
        order = sorted(range(len(self.ids)), key=lambda at: (self.scores[at], self.ids[at]), reverse=True)
        return Scored(tuple(self.ids[at] for at in order), self.scores[order])


def fuse(old: Scored, new: Scored, method: Method, *, weight: float = 0.5) -> Scored:
    """Merge the lists of two generations that both hold every document; best first.

    A document's value is (1 − weight) times its value in the old list plus weight times that in the new. When one list
    is empty, or the weight is 0 or 1, the result is the other list's ranking, unchanged. A document that one list lacks
    has there the value of that list's last one, or nothing by ranks.

    - min_max: scores scaled to 0..1, then summed (CombSUM: Fox & Shaw 1994);
    - z_score: scores less their mean, by their standard deviation;
    - reciprocal_rank: 1 / (60 + rank) (Cormack, Clarke & Büttcher 2009);
    - calibrated: old scores brought to the new scale by isotonic regression over the documents that both lists hold.

    Raises ConfigError for another method, or a weight outside 0..1.
    """
    if method not in METHODS or not 0 <= weight <= 1:
        raise ConfigError(
            f"merge {method!r} with weight {weight}", hint=f"valid are {', '.join(METHODS)}; weights from 0 to 1"
        )
    if not new.ids or (weight == 0 and old.ids):
        return old.ranked()
    if not old.ids or weight == 1:
        return new.ranked()
    first, second = _values(old, new, method)
    low_first, low_second = (0.0, 0.0) if method == "reciprocal_rank" else (min(first.values()), min(second.values()))
    ids = dict.fromkeys((*old.ids, *new.ids))
    return Scored.of(
        {i: (1 - weight) * first.get(i, low_first) + weight * second.get(i, low_second) for i in ids}
    ).ranked()


def _values(old: Scored, new: Scored, method: Method) -> tuple[dict[str, float], dict[str, float]]:
    if method == "calibrated":
        at_old, at_new = ({i: at for at, i in enumerate(side.ids)} for side in (old, new))
        both = [i for i in old.ids if i in at_new]
        pairs = old.scores[[at_old[i] for i in both]], new.scores[[at_new[i] for i in both]]
        mapped = (isotonic(*pairs) if both else moment(old.scores, new.scores))(old.scores)
        return dict(zip(old.ids, mapped.tolist(), strict=True)), dict(zip(new.ids, new.scores.tolist(), strict=True))
    return normalized(old, method), normalized(new, method)


def normalized(one: Scored, method: Method) -> dict[str, float]:
    """One list's values by id, on a scale of their own: min_max, z_score or reciprocal_rank."""
    if method == "reciprocal_rank":
        return {i: 1 / (RANK_CONSTANT + rank) for rank, i in enumerate(one.ranked().ids, 1)}
    scores = one.scores
    start, size = (scores.min(), np.ptp(scores)) if method == "min_max" else (scores.mean(), scores.std())
    values = (scores - start) / size if size > 0 else np.zeros_like(scores)
    return dict(zip(one.ids, values.tolist(), strict=True))


def distinct(documents: Sequence[str], texts: Sequence[str] | None = None) -> list[int]:
    """Positions, in order, that name a document for the first time and, where texts are given, say something new.

    Texts are the same when they differ only in white space or capitals. For lists that are best first.
    """
    seen_documents: set[str] = set()
    seen_texts: set[str] = set()
    kept = []
    for at, document in enumerate(documents):
        text = " ".join(texts[at].split()).casefold() if texts is not None else ""
        if document in seen_documents or (text and text in seen_texts):
            continue
        seen_documents.add(document)
        seen_texts.add(text)
        kept.append(at)
    return kept
