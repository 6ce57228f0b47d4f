"""``lexical``: a judge without a model, from the words alone; the same on every machine, free, and easy to fool."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from regen.core.claims import empty_judgment, sentences_of
from regen.core.words import content_words, is_number
from regen.errors import ConfigError
from regen.ports.judges import Claim, Judgment

NAME: Final = "lexical/1"
SHARE: Final = 0.75
DRAWN: Final = 0.5
_CITED: Final = re.compile(r"\[(\d{1,3})\]")


class LexicalJudge:
    """Counts words.

    A sentence is borne out by a passage when both hold:

    - at least ``share`` of its distinct content words are in that one passage:
      ``|words(sentence) ∩ words(passage)| / |words(sentence)| >= share``;
    - every number of the sentence is in that passage.

    ``faithful`` is the share of the answer's sentences that some passage bears out. ``uses_sources`` is the share of
    the passages that the answer draws on: it cites them (``[2]``), or one of its sentences has at least half of its
    content words in them and in no passage more.

    It does not understand: "is not deleted" and "is deleted" have the same content words. So it passes what is negated,
    and what swaps roles; it fails what is said in other words. Its calibration shows that, and it may not gate unless
    it has passed on claims like yours.
    """

    def __init__(self, share: float = SHARE) -> None:
        given: object = share  # written by hand in regen.yaml
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 1:
            raise ConfigError(f"options.share is {share!r}", hint=f"above 0, at most 1; {SHARE} is usual")
        self._share = float(share)

    @classmethod
    def from_name(cls, name: str, *, share: float = SHARE) -> LexicalJudge:
        """Read ``lexical`` or ``lexical/1`` back. Raises ConfigError for another version."""
        if name not in ("lexical", NAME):
            raise ConfigError(f"{name!r} is no version of the lexical judge", hint=f"lexical, or {NAME}")
        return cls(share)

    @property
    def name(self) -> str:
        """``lexical/1``, with the share where it is not the usual one."""
        return NAME if self._share == SHARE else f"{NAME} (share {self._share:g})"

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """A judgment for each claim, in order; nothing is asked or paid."""
        return [empty_judgment(claim) or self._judged(claim) for claim in claims]

    def _judged(self, claim: Claim) -> Judgment:
        passages = [frozenset(content_words(passage)) for passage in claim.passages]
        read = [_Sentence.of(sentence) for sentence in sentences_of(claim.answer)]
        claiming = [sentence for sentence in read if sentence.words]
        borne_out = [sentence for sentence in claiming if any(self._bears_out(words, sentence) for words in passages)]
        drawn = {place for sentence in read for place in sentence.drawn_from(passages)}
        missing = next((sentence.text for sentence in claiming if sentence not in borne_out), None)
        return Judgment(
            len(borne_out) / len(claiming) if claiming else 1.0,
            len(drawn) / len(passages),
            f"not in any passage: {missing}" if missing else "",
        )

    def _bears_out(self, passage: frozenset[str], sentence: _Sentence) -> bool:
        numbers = {word for word in sentence.words if is_number(word)}
        return numbers <= passage and sentence.share_in(passage) >= self._share


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    words: frozenset[str]
    cited: frozenset[int]

    @classmethod
    def of(cls, text: str) -> _Sentence:
        """A sentence without its citations, which are no words of it."""
        cited = frozenset(int(number) - 1 for number in _CITED.findall(text))
        return cls(text, frozenset(content_words(_CITED.sub(" ", text))), cited)

    def share_in(self, passage: frozenset[str]) -> float:
        return len(self.words & passage) / len(self.words) if self.words else 0.0

    def drawn_from(self, passages: Sequence[frozenset[str]]) -> set[int]:
        """The places of the passages that the sentence cites or shares most words with."""
        cited = {place for place in self.cited if 0 <= place < len(passages)}
        shares = [self.share_in(passage) for passage in passages]
        most = max(shares)
        return cited | {place for place, share in enumerate(shares) if share == most >= DRAWN}
