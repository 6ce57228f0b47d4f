"""Any LangChain chat model as a judge and a writer: its likeness, and the real base class where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regen import registry
from regen.errors import BudgetExceeded, ConfigError, JudgeError
from regen.judges.answer_cache import AnswerCache
from regen.judges.budget import Budget
from regen.judges.langchain_chat import LangChainJudge, LangChainWriter
from regen.ports.judges import Claim, Judge, Writer
from regen.testing.chat_server import plain_answer

PASSAGES = ("The catalog keeps tombstones for seven days.", "Bees dance to show where flowers are.")
HALF = Claim("What do bees do?", "Bees dance to show where flowers are. They vote on Mondays.", PASSAGES)
USAGE = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
real = pytest.mark.skipif(
    importlib.util.find_spec("langchain_core") is None,
    reason="langchain-core is not installed (pip install langchain-core)",
)


@dataclass
class Likeness:
    """What regen uses of a LangChain chat model."""

    answer: Callable[[Sequence[dict[str, str]]], Any] = plain_answer
    usage: dict[str, int] | None = field(default_factory=lambda: dict(USAGE))
    told: dict[str, str] = field(default_factory=dict)
    model_name: str = "likeness-1"
    calls: list[Any] = field(default_factory=list)

    def invoke(self, messages: Any) -> Any:
        """Answer as an AIMessage would."""
        self.calls.append(messages)
        content = self.answer([{"role": role, "content": text} for role, text in messages])
        return SimpleNamespace(content=content, usage_metadata=self.usage, response_metadata=self.told)


def _refuse(_messages: object) -> str:
    raise RuntimeError("quota of the day is used up")


def test_it_judges_sentence_by_sentence() -> None:
    """The same prompts and the same reading as behind a chat API."""
    model = Likeness()
    judge = LangChainJudge(model, budget=Budget(1.0, 1.0, 2.0))
    [found] = judge.judge([HALF])
    assert (found.faithful, found.uses_sources) == (0.5, 0.5)
    assert found.cost_usd == pytest.approx((100 + 2 * 10) / 1e6)
    assert judge.name == "langchain/Likeness/likeness-1 prompt/1"
    assert [role for role, _ in model.calls[0]] == ["system", "user"]
    assert isinstance(judge, Judge)


def test_text_in_blocks_is_read() -> None:
    """Some models answer with a list of blocks, of which some are no text."""
    model = Likeness(
        lambda messages: [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": plain_answer(messages)}]
    )
    assert LangChainJudge(model).judge([HALF])[0].faithful == 0.5
    with pytest.raises(JudgeError, match="gave no usable judgment"):
        LangChainJudge(Likeness(lambda _messages: [{"type": "image"}])).judge([HALF])


def test_nonsense_and_failures_are_told() -> None:
    """Whatever the model raises or says becomes a JudgeError that says what it was."""
    with pytest.raises(JudgeError, match=r"'Looks good!': it is not one JSON object"):
        LangChainJudge(Likeness(lambda _messages: "Looks good!")).judge([HALF])
    with pytest.raises(JudgeError, match="RuntimeError: quota of the day is used up"):
        LangChainJudge(Likeness(_refuse)).judge([HALF])
    with pytest.raises(JudgeError, match="answered with a dict, which has no content"):
        LangChainJudge(SimpleNamespace(invoke=lambda _messages: {})).judge([HALF])


def test_the_writer_writes() -> None:
    """And says when the model ran into its output limit."""
    writer = LangChainWriter(Likeness())
    assert isinstance(writer, Writer)
    assert writer.write("Write a question.", "Bees dance. They show flowers.") == "What about bees dance?"
    with pytest.raises(JudgeError, match="was cut off at the output limit"):
        LangChainWriter(Likeness(told={"finish_reason": "length"})).write("Write a question.", "Bees dance.")


def test_a_budget_holds_without_usage() -> None:
    """A model that tells no usage is counted at the most that a call can cost."""
    model = Likeness(usage=None)
    judge = LangChainJudge(model, budget=Budget(0.02, 1.0, 1.0), concurrency=1)
    with pytest.raises(BudgetExceeded):
        judge.judge([Claim(f"q{number}", "Bees dance.", PASSAGES) for number in range(20)])
    assert 0 < len(model.calls) < 20


def test_the_cache_needs_a_name(tmp_path: Path) -> None:
    """Models that do not say which they are would share their answers; with a name they do not."""
    nameless = Likeness(model_name="")
    with AnswerCache(tmp_path / "a.db") as cache, pytest.raises(ConfigError, match="does not say which model it is"):
        LangChainJudge(nameless, cache)
    for name in ("one", "two", "one"):
        with LangChainJudge(nameless, AnswerCache(tmp_path / "a.db"), name=name) as judge:
            assert judge.judge([HALF])[0].faithful == 0.5
    assert len(nameless.calls) == 2


@pytest.mark.parametrize(
    ("model", "message"),
    [(object(), "has no method 'invoke'"), (SimpleNamespace(invoke=print, temperature=0.7), "temperature is 0.7")],
    ids=["no model", "hot"],
)
def test_what_cannot_judge_is_refused(model: object, message: str) -> None:
    """An object of another kind, or one that draws its answers at random."""
    with pytest.raises(ConfigError, match=message):
        registry.make_judge(model)


def test_a_model_of_the_project_is_found_by_name(tmp_path: Path) -> None:
    """python:module:Name names a chat model, a judge or a writer in the project's folder."""
    (tmp_path / "regen_test_chats.py").write_text(
        "from regen.testing.chat_server import plain_answer\n"
        "class Chat:\n"
        "    model_name = 'own'\n"
        "    def __init__(self, mood='calm'):\n        self.mood = mood\n"
        "    def invoke(self, messages):\n"
        "        return plain_answer([{'role': r, 'content': t} for r, t in messages])\n"
        "chat = Chat()\n"
        "class Strict:\n"
        "    name = 'strict'\n"
        "    def judge(self, claims):\n        return []\n"
    )
    try:
        judge = registry.make_judge("python:regen_test_chats:chat", root=tmp_path)
        assert judge.name == "python:regen_test_chats:chat prompt/1"
        assert judge.judge([HALF])[0].faithful == 0.5
        writer = registry.make_writer("python:regen_test_chats:Chat", {"mood": "bright"}, tmp_path)
        assert writer.write("Ask.", "Bees dance.") == "What about bees dance?"
        assert registry.make_judge("python:regen_test_chats:Strict", root=tmp_path).name == "strict"
        with pytest.raises(ConfigError, match="unexpected keyword argument 'mod'"):
            registry.make_judge("python:regen_test_chats:Chat", {"mod": 1}, tmp_path)
    finally:
        sys.modules.pop("regen_test_chats", None)


# ── the real thing ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def chat_model() -> Any:
    """A chat model on LangChain's own base class, which judges by words."""
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class ByWords(BaseChatModel):  # type: ignore[misc, unused-ignore]
        model_name: str = "by-words"
        temperature: float = 0.0

        @property
        def _llm_type(self) -> str:
            return "by-words"

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            text = plain_answer([{"role": message.type, "content": message.content} for message in messages])
            message = AIMessage(content=text, usage_metadata=USAGE, response_metadata={"finish_reason": "stop"})
            return ChatResult(generations=[ChatGeneration(message=message)])

    return ByWords()


@real
def test_a_real_chat_model_judges(chat_model: Any) -> None:
    """Roles, content and usage are LangChain's own."""
    [found] = LangChainJudge(chat_model, budget=Budget(1.0, 1.0, 2.0)).judge([HALF])
    assert found.faithful == 0.5
    assert found.cost_usd == pytest.approx(0.00012)
    assert registry.make_judge(chat_model).name == "langchain/ByWords/by-words prompt/1"
