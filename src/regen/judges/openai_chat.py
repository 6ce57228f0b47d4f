"""``openai/<model>``: a judge and a writer behind OpenAI's chat API, or any server that speaks it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import orjson
import stamina

from regen.errors import ConfigError, JudgeError
from regen.judges.answer_cache import AnswerCache
from regen.judges.asking import CONCURRENCY, ModelJudge, ModelWriter, Reply
from regen.judges.budget import Budget
from regen.judges.chat_faults import Unavailable, translated
from regen.judges.prompts import Message
from regen.openai_service import KEY, Endpoint

if TYPE_CHECKING:
    from openai import OpenAI

PREFIX: Final = "openai/"
ATTEMPTS: Final = 6
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 20.0
LONGEST_WAIT: Final = 120.0
"""Seconds; a provider that asks to wait for longer is told of, not waited for."""
PATIENCE: Final = 600.0
OUTPUT_TOKENS: Final = 2048


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn. Temperature 0 is as deterministic as a provider makes it; None sends none."""

    temperature: float | None = 0.0
    max_output_tokens: int = OUTPUT_TOKENS
    json_mode: bool = True

    def __post_init__(self) -> None:
        given: tuple[object, object] = self.temperature, self.max_output_tokens  # written by hand in regen.yaml
        if given[0] is not None and (isinstance(given[0], bool) or given[0] != 0):
            raise ConfigError(
                f"options.temperature is {given[0]!r}",
                hint="0, or null for a model that refuses to be told; judgments must not be drawn at random",
            )
        if isinstance(given[1], bool) or not isinstance(given[1], int) or given[1] < 1:
            raise ConfigError(f"options.max_output_tokens is {given[1]!r}", hint=f"from 1; {OUTPUT_TOKENS} is usual")

    def arguments(self, *, official: bool, json: bool) -> dict[str, Any]:
        """What a request says of it. OpenAI has renamed the limit; other servers know the old name."""
        limit = "max_completion_tokens" if official else "max_tokens"
        arguments: dict[str, Any] = {limit: self.max_output_tokens}
        if self.temperature is not None:
            arguments["temperature"] = 0
        if json and self.json_mode:
            arguments["response_format"] = {"type": "json_object"}
        return arguments


class OpenAIChat:
    """One model of one server. Thread-safe; connected when first used.

    A call that times out, is throttled (429, by its Retry-After) or meets an error of the server's own is made again,
    up to ``attempts`` times in all. What an attempt could have cost is set aside before it; what it has cost is counted
    from the answer's ``usage``, and in full where the answer was lost or tells no usage, so that a budget holds.
    """

    def __init__(
        self,
        model: str,
        endpoint: Endpoint | None = None,
        *,
        sampling: Sampling | None = None,
        budget: Budget | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        given: object = attempts  # written by hand in regen.yaml
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise ConfigError(f"options.attempts is {attempts!r}", hint=f"from 1; {ATTEMPTS} is usual")
        self._model, self._endpoint = model, endpoint or Endpoint(options="options")
        self._sampling, self._budget = sampling or Sampling(), budget or Budget(None, None, None)
        self._attempts = attempts
        self._lock = Lock()
        self._client: OpenAI | None = None
        self._served = ""

    @property
    def name(self) -> str:
        """``openai/<model>``."""
        return PREFIX + self._model

    @property
    def place(self) -> str:
        """The server, without user, password and query."""
        return self._endpoint.place

    @property
    def spent_usd(self) -> float:
        """What all calls so far have cost, by the prices given."""
        return self._budget.spent_usd

    def complete(self, messages: Sequence[Message], *, json: bool) -> Reply:
        """The model's answer. Raises JudgeError after the last attempt, BudgetExceeded before a call too many."""
        made = 0
        try:
            for attempt in stamina.retry_context(
                _pause, self._attempts, PATIENCE, wait_initial=FIRST_PAUSE, wait_max=LONGEST_PAUSE
            ):
                with attempt:
                    made += 1
                    return self._paid(messages, json=json)
        except Unavailable as error:
            tried = f"{made} attempt{'' if made == 1 else 's'}"
            raise JudgeError(
                f"{error} (gave up after {tried})",
                hint="what was answered is in the cache, where one is named; run it again when the server is back",
            ) from None
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close the connections; new ones are opened when it is used again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _paid(self, messages: Sequence[Message], *, json: bool) -> Reply:
        most = self._budget.most([text for _, text in messages], self._sampling.max_output_tokens)
        self._budget.hold(most, self._what)
        cost = most
        try:
            answer = self._requested(messages, json=json)
            usage = _usage(answer)
            cost = most if usage is None else self._budget.cost(*usage)
        except Unavailable as error:
            cost = most if error.billed else 0.0
            raise
        except JudgeError:
            cost = 0.0
            raise
        finally:
            self._budget.settle(most, cost)
        self._note_model(answer)
        return _reply(answer, cost, self._what)

    def _requested(self, messages: Sequence[Message], *, json: bool) -> dict[str, Any]:
        client = self._opened()
        from openai import APIError  # noqa: PLC0415 - loaded by now

        sent: Any = [{"role": role, "content": text} for role, text in messages]
        arguments = self._sampling.arguments(official=self._endpoint.official, json=json)
        try:
            response = client.chat.completions.with_raw_response.create(model=self._model, messages=sent, **arguments)
        except APIError as error:
            key = self._endpoint.key_name or KEY
            raise translated(error, what=self._what, key=key, secret=client.api_key) from None
        try:
            answer = orjson.loads(response.http_response.content)
        except orjson.JSONDecodeError:
            start = response.http_response.content[:80]
            raise Unavailable(f"{self._what}: the answer is no JSON: {start!r}", billed=True) from None
        if not isinstance(answer, dict):
            raise Unavailable(f"{self._what}: the answer is {type(answer).__name__}, not an object", billed=True)
        return answer

    def _opened(self) -> OpenAI:
        with self._lock:
            if self._client is None:
                self._client = self._endpoint.client()
            return self._client

    def _note_model(self, answer: dict[str, Any]) -> None:
        """Notice a model that is another than before behind the same name (I10)."""
        model = answer.get("model")
        if not isinstance(model, str) or not model:
            return
        with self._lock:
            before, self._served = self._served or model, model
        if before != model:
            raise JudgeError(
                f"{self._what}: the server says that it used {model!r}, and {before!r} before",
                hint="judgments of two models cannot be compared: name the exact version of the model",
            )

    @property
    def _what(self) -> str:
        return f"{self._model} at {self._endpoint.place}"


class ChatJudge(ModelJudge):
    """A judge behind a chat API; see :class:`~regen.judges.asking.ModelJudge` for what it measures."""

    @classmethod
    def from_name(
        cls, name: str, *, root: Path | str = ".", concurrency: int = CONCURRENCY, **options: Any
    ) -> ChatJudge:
        """Read ``openai/gpt-4o-mini`` back; ``options`` as of :func:`open_chat`. Raises ConfigError."""
        chat, cache = _opened_by(name, root, options, also="concurrency")
        return cls(chat, cache, concurrency=concurrency)


class ChatWriter(ModelWriter):
    """A writer behind a chat API."""

    @classmethod
    def from_name(cls, name: str, *, root: Path | str = ".", **options: Any) -> ChatWriter:
        """Read ``openai/gpt-4o-mini`` back; ``options`` as of :func:`open_chat`. Raises ConfigError."""
        return cls(*_opened_by(name, root, options))


def open_chat(  # noqa: PLR0913 - one place that spells out the options and their defaults
    name: str,
    root: Path,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    timeout: float = 60.0,
    attempts: int = ATTEMPTS,
    temperature: float | None = 0.0,
    max_output_tokens: int = OUTPUT_TOKENS,
    json_mode: bool = True,
    budget_usd: float | None = None,
    input_price_per_million_tokens: float | None = None,
    output_price_per_million_tokens: float | None = None,
    cache: str | None = None,
) -> tuple[OpenAIChat, AnswerCache | None]:
    """The chat of ``openai/<model>``, and the cache of its answers in a file under ``root``. Raises ConfigError."""
    model = name.removeprefix(PREFIX)
    if model == name or not model:
        raise ConfigError(f"{name!r} names no model of an OpenAI-style API", hint=f"{PREFIX}gpt-4o-mini")
    chat = OpenAIChat(
        model,
        Endpoint(base_url, api_key_env, timeout=timeout, options="options"),
        sampling=Sampling(temperature, max_output_tokens, json_mode),
        budget=Budget(budget_usd, input_price_per_million_tokens, output_price_per_million_tokens),
        attempts=attempts,
    )
    return chat, AnswerCache(root / cache) if cache is not None else None


def _opened_by(
    name: str, root: Path | str, options: dict[str, Any], *, also: str = ""
) -> tuple[OpenAIChat, AnswerCache | None]:
    valid = [key for key in inspect.signature(open_chat).parameters if key not in ("name", "root")]
    unknown = [key for key in options if key not in valid]
    if unknown:
        listed = ", ".join([*valid, also] if also else valid)
        raise ConfigError(f"{name} has no option {', '.join(map(repr, unknown))}", hint=f"its options: {listed}")
    return open_chat(name, Path(root), **options)


_NOT_IT: Final = "does options.base_url point at an OpenAI-style API? It usually ends in /v1"


def _pause(error: Exception) -> bool | float:
    """Whether to try again, and after how many seconds where the provider says so."""
    if not isinstance(error, Unavailable):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if math.isfinite(error.retry_after) and error.retry_after <= LONGEST_WAIT else False


def _usage(answer: dict[str, Any]) -> tuple[int, int] | None:
    """The tokens read and written, as the server counted them; None when it does not say."""
    usage = answer.get("usage")
    counts: list[Any] = (
        [usage.get(key) for key in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else []
    )
    if len(counts) == 2 and all(
        isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts
    ):
        return counts[0], counts[1]
    return None


def _reply(answer: dict[str, Any], cost: float, what: str) -> Reply:
    try:
        choice = answer["choices"][0]
        text = choice["message"].get("content") or choice["message"].get("refusal") or ""
        finished = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise JudgeError(f"{what}: the answer holds no message: {str(answer)[:200]}", hint=_NOT_IT) from None
    return Reply(text if isinstance(text, str) else "", cost, cut_off=finished == "length")
