"""A small server on this machine that speaks OpenAI's chat API, and misbehaves when told to.

    with ChatServer() as server:
        judge = ChatJudge.from_name("openai/test-model", base_url=server.base_url)

It judges by words, deterministically; ``says`` puts other words into its mouth. What can go wrong with any server is in
:mod:`regen.testing.local_server`; here is what only a chat can get wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from regen.core.words import content_words
from regen.testing.local_server import LocalServer, Received, Reply, Spoil, error_reply

MODEL: Final = "test-model"
_PART: Final = re.compile(r"<<(question|passage|sentence|text) ?(\d*) [0-9a-f]+>>\n(.*?)\n<<end [0-9a-f]+>>", re.DOTALL)
_CITED: Final = re.compile(r"\[\d+\]")


def says(text: str) -> Spoil:
    """Another text than what it would have said: nonsense, JSON of another form, nothing at all."""
    return Spoil(lambda answer: _with_message(answer, text))


def cut_off(characters: int = 40) -> Spoil:
    """Only the beginning of the answer, as when the output limit is reached."""
    return Spoil(lambda answer: _with_message(answer, _text(answer)[:characters], "length"))


def credulous() -> Spoil:
    """Every sentence is supported by the first passage: what a model says that was talked into it."""
    return Spoil(lambda answer: _with_message(answer, _all_supported(_text(answer))))


def without_usage() -> Spoil:
    """The answer does not say how many tokens it took."""
    return Spoil(lambda answer: {key: value for key, value in answer.items() if key != "usage"})


def broken_body() -> Spoil:
    """The first half of the HTTP body, which is no JSON."""
    return Spoil(lambda answer: json.dumps(answer).encode()[:60])


def plain_answer(messages: Sequence[dict[str, str]]) -> str:
    """Judge by words: a sentence is supported by a passage that has all its content words. Other texts are echoed."""
    parts = [(kind, content) for kind, _, content in _PART.findall(messages[min(1, len(messages) - 1)]["content"])]
    passages = [set(content_words(content)) for kind, content in parts if kind == "passage"]
    sentences = [set(content_words(_CITED.sub("", content))) for kind, content in parts if kind == "sentence"]
    if not sentences:
        return next((f"What about {content.split('.')[0].lower()}?" for kind, content in parts if kind == "text"), "")
    verdicts = []
    for number, words in enumerate(sentences, 1):
        places = [place for place, passage in enumerate(passages, 1) if words <= passage]
        verdict = "supported" if places else "unsupported"
        verdicts.append({"sentence": number, "verdict": verdict, "passages": places})
    return json.dumps({"sentences": verdicts})


@dataclass
class ChatServer(LocalServer):
    """The server; started by ``with``. It refuses what some servers refuse.

    ``reply`` makes the answer from the messages. ``knows_json`` and ``knows_temperature`` tell whether the request may
    ask for JSON and set a temperature. An answer longer than the request's limit of tokens (words) is cut off.
    """

    path: ClassVar[str] = "/v1/chat/completions"

    reply: Callable[[Sequence[dict[str, str]]], str] = plain_answer
    knows_json: bool = True
    knows_temperature: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_tokens = self.output_tokens = 0

    def refusal(self, request: Received) -> Reply | None:
        """What such a server refuses."""
        if not request.body.get("messages"):
            return error_reply(400, "messages must not be empty", "messages")
        if "response_format" in request.body and not self.knows_json:
            return error_reply(400, "response_format is not supported", "response_format")
        if "temperature" in request.body and not self.knows_temperature:
            return error_reply(400, "temperature does not support 0 with this model", "temperature")
        return None

    def answered(self, request: Received) -> dict[str, Any]:
        """A completion with its usage, in words."""
        text, finished = self.reply(request.body["messages"]), "stop"
        limit = request.body.get("max_tokens") or request.body.get("max_completion_tokens")
        words = text.split(" ")
        if limit and len(words) > limit:
            text, finished = " ".join(words[:limit]), "length"
        read = sum(len(message["content"].split()) for message in request.body["messages"])
        written = len(text.split(" "))
        with self._lock:
            self.input_tokens += read
            self.output_tokens += written
        return {
            "object": "chat.completion",
            "model": request.body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finished}],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }


def _text(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def _with_message(answer: dict[str, Any], text: str, finished: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finished}
    return answer | {"choices": [choice]}


def _all_supported(text: str) -> str:
    entries = json.loads(text)["sentences"]
    return json.dumps({"sentences": [entry | {"verdict": "supported", "passages": [1]} for entry in entries]})
