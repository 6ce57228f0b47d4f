"""Any LangChain chat model as a judge and a writer: whatever has ``invoke(messages)`` and answers with ``content``.

LangChain itself is not imported: the object brings it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from regen.errors import ConfigError, JudgeError
from regen.judges.answer_cache import AnswerCache
from regen.judges.asking import CONCURRENCY, ModelJudge, ModelWriter, Reply
from regen.judges.budget import Budget
from regen.judges.prompts import Message
from regen.ports.judges import Judge, Writer

OUTPUT_TOKENS: Final = 2048
_CUT_OFF: Final = ("length", "max_tokens", "MAX_TOKENS")


class LangChainChat:
    """A chat model, called with ``invoke``; waiting and trying again is the model's own work (``max_retries``).

    ``name`` defaults to the class and the model that it names. With a budget, what a call could cost at most is set
    aside before it, for ``max_output_tokens`` of output (default: the model's own ``max_tokens``, else 2048); a call
    without ``usage_metadata``, and one that failed, is counted in full. Raises ConfigError for an object that is no
    chat model, or one whose temperature is set to something else than 0.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        budget: Budget | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        if not callable(getattr(model, "invoke", None)):
            raise ConfigError(
                f"a {type(model).__name__} is no chat model: it has no method 'invoke'",
                hint="give a LangChain chat model, or implement regen.ports.judges.Judge",
            )
        temperature = getattr(model, "temperature", None)
        if temperature:
            raise ConfigError(
                f"the chat model's temperature is {temperature}",
                hint="make it with temperature=0: judgments must not be drawn at random",
            )
        self._model, self._budget = model, budget or Budget(None, None, None)
        self._named = name
        self._output = max_output_tokens or getattr(model, "max_tokens", None) or OUTPUT_TOKENS

    @property
    def name(self) -> str:
        """What was given, else ``langchain/<class>/<model>``."""
        return self._named or "/".join(filter(None, ["langchain", type(self._model).__name__, self.model_name]))

    @property
    def model_name(self) -> str:
        """The model that the object names, empty if it names none."""
        found = (getattr(self._model, attribute, None) for attribute in ("model_name", "model", "model_id"))
        return next((value for value in found if isinstance(value, str) and value), "")

    @property
    def place(self) -> str:
        """The class by its import path, and the model."""
        return f"{type(self._model).__module__}.{type(self._model).__qualname__} {self.model_name}"

    @property
    def identified(self) -> bool:
        """Whether the name tells this model from others of its class."""
        return bool(self._named or self.model_name)

    @property
    def spent_usd(self) -> float:
        """What all calls so far have cost, by the prices given."""
        return self._budget.spent_usd

    def complete(self, messages: Sequence[Message], *, json: bool) -> Reply:  # noqa: ARG002 - the prompt asks for it
        """The model's answer. Raises JudgeError for whatever the model raises, and BudgetExceeded."""
        most = self._budget.most([text for _, text in messages], self._output)
        self._budget.hold(most, self.name)
        cost = most
        try:
            answer = self._model.invoke(list(messages))
            usage = _usage(answer)
            cost = most if usage is None else self._budget.cost(*usage)
        except Exception as error:
            raise JudgeError(
                f"{self.name}: {type(error).__name__}: {str(error)[:300]}",
                hint="what was answered is in the cache, where one is named; set the model's max_retries and timeout",
            ) from error
        finally:
            self._budget.settle(most, cost)
        return Reply(_text(answer, self.name), cost, cut_off=_is_cut_off(answer))

    def close(self) -> None:
        """Do nothing: the model is its owner's."""


class LangChainJudge(ModelJudge):
    """A judge behind a LangChain chat model; see :class:`~regen.judges.asking.ModelJudge` for what it measures."""

    def __init__(
        self,
        model: Any,
        cache: AnswerCache | None = None,
        *,
        name: str | None = None,
        budget: Budget | None = None,
        concurrency: int = CONCURRENCY,
    ) -> None:
        super().__init__(_chat(model, cache, name, budget), cache, concurrency=concurrency)


class LangChainWriter(ModelWriter):
    """A writer behind a LangChain chat model."""

    def __init__(
        self, model: Any, cache: AnswerCache | None = None, *, name: str | None = None, budget: Budget | None = None
    ) -> None:
        super().__init__(_chat(model, cache, name, budget), cache)


def adapt_judge(obj: object, name: str | None = None) -> Judge:
    """Return ``obj`` itself if it is a judge, else around it as a chat model. Raises ConfigError if it is neither."""
    return obj if isinstance(obj, Judge) else LangChainJudge(obj, name=name)


def adapt_writer(obj: object, name: str | None = None) -> Writer:
    """Return ``obj`` itself if it is a writer, else around it as a chat model. Raises ConfigError if it is neither."""
    return obj if isinstance(obj, Writer) else LangChainWriter(obj, name=name)


def _chat(model: Any, cache: AnswerCache | None, name: str | None, budget: Budget | None) -> LangChainChat:
    chat = LangChainChat(model, name=name, budget=budget)
    if cache is not None and not chat.identified:
        raise ConfigError(
            f"a {type(model).__name__} does not say which model it is: its answers cannot be kept apart from others'",
            hint="give name=…, as you would want to read it in a report",
        )
    return chat


def _text(answer: Any, name: str) -> str:
    """The text of a message, or of its text blocks; a model that is no chat model answers with a string."""
    content = answer if isinstance(answer, str) else getattr(answer, "content", None)
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)
    raise JudgeError(f"{name} answered with a {type(answer).__name__}, which has no content")


def _usage(answer: Any) -> tuple[int, int] | None:
    usage = getattr(answer, "usage_metadata", None)
    counts: list[Any] = [usage.get(key) for key in ("input_tokens", "output_tokens")] if isinstance(usage, dict) else []
    return (counts[0], counts[1]) if counts and all(isinstance(count, int) for count in counts) else None


def _is_cut_off(answer: Any) -> bool:
    told = getattr(answer, "response_metadata", None)
    reasons = (
        [told.get(key) for key in ("finish_reason", "stop_reason", "done_reason")] if isinstance(told, dict) else []
    )
    return any(reason in _CUT_OFF for reason in reasons)
