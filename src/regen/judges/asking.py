"""A judge and a writer on top of anything that one can chat with: prompts, repair, cache and threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, Self

from regen.core.claims import empty_judgment, sentences_of
from regen.errors import ConfigError, JudgeError
from regen.judges.answer_cache import AnswerCache
from regen.judges.prompts import (
    JUDGE_VERSION,
    SENTENCES_PER_SHEET,
    WRITER_VERSION,
    Message,
    SentenceVerdict,
    Unusable,
    excerpt,
    judge_sheet,
    read_verdicts,
    repair_messages,
    writer_messages,
)
from regen.ports.judges import Claim, Judgment

CONCURRENCY: Final = 4


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said. ``cut_off`` tells that it had not finished when its output limit was reached."""

    text: str
    cost_usd: float = 0.0
    cut_off: bool = False


class Chat(Protocol):
    """A chat model behind some vendor's library."""

    @property
    def name(self) -> str:
        """The model as users write it."""
        ...

    @property
    def place(self) -> str:
        """Where it answers: the same name elsewhere may be another model."""
        ...

    def complete(self, messages: Sequence[Message], *, json: bool) -> Reply:
        """What is answered; with ``json`` the server is asked for JSON. Raises JudgeError, BudgetExceeded."""
        ...

    def close(self) -> None:
        """Let connections go. Idempotent."""
        ...


class _Asking:
    """What a judge and a writer share. Closing it closes the chat and the cache, which are its own from then on."""

    version: str

    def __init__(self, chat: Chat, cache: AnswerCache | None = None) -> None:
        self._chat, self._cache = chat, cache

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and cache. Idempotent."""
        self._chat.close()
        if self._cache is not None:
            self._cache.close()

    @property
    def name(self) -> str:
        """The model and the version of the prompt."""
        return f"{self._chat.name} {self.version}"

    def _kept(self, messages: tuple[Message, ...]) -> str | None:
        return self._cache.get(self._asked, messages) if self._cache is not None else None

    def _keep(self, messages: tuple[Message, ...], answer: str) -> None:
        if self._cache is not None:
            self._cache.put(self._asked, messages, answer)

    @property
    def _asked(self) -> str:
        return f"{self.name} at {self._chat.place}"


class ModelJudge(_Asking):
    """A judge that asks a chat model, sentence by sentence; see :mod:`regen.judges.prompts` for what it is asked.

    ``faithful`` is supported / (supported + unsupported) sentences, as the faithfulness of Es et al., "RAGAS: Automated
    Evaluation of Retrieval Augmented Generation" (2023), but with sentences as the statements, so that no model decides
    what is judged. An answer that claims nothing ("I do not know") is faithful and uses no source. ``uses_sources`` is
    the share of the passages that bear out at least one sentence.
    """

    version = f"prompt/{JUDGE_VERSION}"

    def __init__(self, chat: Chat, cache: AnswerCache | None = None, *, concurrency: int = CONCURRENCY) -> None:
        given: object = concurrency  # written by hand in regen.yaml
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise ConfigError(f"options.concurrency is {concurrency!r}", hint="calls made at once, from 1")
        super().__init__(chat, cache)
        self._concurrency = concurrency

    def judge(self, claims: Sequence[Claim]) -> list[Judgment]:
        """A judgment for each claim, in order; equal claims are asked about once.

        Raises JudgeError when the model cannot be reached or answers nonsense, BudgetExceeded. What was answered until
        then is in the cache.
        """
        distinct = list(dict.fromkeys(claims))
        found = dict(zip(distinct, self._all(distinct), strict=True))
        paid = set[Claim]()
        judgments = []
        for claim in claims:
            judgment = found[claim]
            if claim in paid:  # paid for once
                judgment = Judgment(judgment.faithful, judgment.uses_sources, judgment.reason)
            paid.add(claim)
            judgments.append(judgment)
        return judgments

    def _all(self, claims: Sequence[Claim]) -> list[Judgment]:
        if self._concurrency == 1 or len(claims) < 2:
            return [self._judged(claim) for claim in claims]
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="regen-judge")
        try:
            return list(pool.map(self._judged, claims))
        finally:
            pool.shutdown(cancel_futures=True)

    def _judged(self, claim: Claim) -> Judgment:
        empty = empty_judgment(claim)
        if empty is not None:
            return empty
        sentences = sentences_of(claim.answer)
        verdicts, cost = list[SentenceVerdict](), 0.0
        for first in range(0, len(sentences), SENTENCES_PER_SHEET):
            read, paid = self._verdicts(claim, sentences[first : first + SENTENCES_PER_SHEET])
            verdicts += read
            cost += paid
        return _summed(verdicts, sentences, len(claim.passages), cost)

    def _verdicts(self, claim: Claim, sentences: Sequence[str]) -> tuple[list[SentenceVerdict], float]:
        """Ask, and ask once more when the answer cannot be used."""
        sheet = judge_sheet(claim, sentences)
        kept = self._kept(sheet.messages)
        if kept is not None:
            try:
                return read_verdicts(kept, sheet), 0.0
            except Unusable as error:
                raise JudgeError(f"a kept answer of {self.name} is damaged: {error}", hint="delete the cache") from None
        messages, cost, wrong = sheet.messages, 0.0, list[str]()
        for _ in range(2):
            reply = self._chat.complete(messages, json=True)
            cost += reply.cost_usd
            try:
                verdicts = read_verdicts(reply.text, sheet)
            except Unusable as error:
                reason = f"{error}; it was cut off at the output limit" if reply.cut_off else str(error)
                wrong.append(f"{excerpt(reply.text)}: {reason}")
                messages = repair_messages(sheet.messages, reply.text, reason)
            else:
                self._keep(sheet.messages, reply.text)
                return verdicts, cost
        raise JudgeError(
            f"{self.name} gave no usable judgment, asked twice: {wrong[0]}; then {wrong[1]}",
            hint="this model may be too weak to judge, or its output limit too small; a passage may also have told it "
            f"what to say. The answer judged begins {excerpt(claim.answer[:80])}",
        )


class ModelWriter(_Asking):
    """A writer that asks a chat model. The same question is answered from the cache."""

    version = f"writer/{WRITER_VERSION}"

    def write(self, instructions: str, text: str) -> str:
        """What the model writes, stripped. Raises JudgeError when it writes nothing, BudgetExceeded."""
        messages = writer_messages(instructions, text)
        kept = self._kept(messages)
        if kept is not None:
            return kept
        reply = self._chat.complete(messages, json=False)
        answer = reply.text.strip()
        if not answer or reply.cut_off:
            what = "was cut off at the output limit" if reply.cut_off else "is empty"
            raise JudgeError(
                f"{self.name}: the answer {what}: {excerpt(answer)}", hint="raise options.max_output_tokens"
            )
        self._keep(messages, answer)
        return answer


def _summed(verdicts: Sequence[SentenceVerdict], sentences: Sequence[str], passages: int, cost: float) -> Judgment:
    pairs = list(zip(verdicts, sentences, strict=True))
    claiming = [(verdict, sentence) for verdict, sentence in pairs if verdict.verdict != "no_claim"]
    refused = [sentence for verdict, sentence in claiming if verdict.verdict == "unsupported"]
    drawn = _union(verdict.passages for verdict in verdicts)
    reason = f"not borne out: {refused[0]}" if refused else "" if claiming else "the answer claims nothing"
    faithful = (len(claiming) - len(refused)) / len(claiming) if claiming else 1.0
    return Judgment(faithful, len(drawn) / passages, reason, cost)


def _union(places: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset[int]().union(*places)
