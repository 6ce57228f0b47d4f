"""What pydantic found wrong, in the words of regen.yaml: the place, the valid keys, the closest match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from regen.config.block import Holds
from regen.config.document import KeyPath, YamlDocument
from regen.config.secrets import is_secret_key, mask_credentials
from regen.errors import ConfigError

_WANTED: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "list_type": "a list",
}
_BOUNDS: Final = {"greater_than_equal": "at least", "greater_than": "more than", "less_than_equal": "at most"}
_MAX_SHOWN: Final = 60


def closest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word that was probably meant, None when none is near."""
    near = get_close_matches(word.lower(), list(valid), n=1, cutoff=0.6)
    return near[0] if near else None


def suggestion(word: str, valid: Sequence[str], where: str) -> str:
    """A hint: the closest match when there is one, then all that is valid."""
    near = closest(word, valid)
    listed = f"valid in {where}: {', '.join(sorted(valid))}"
    return f"did you mean {near!r}? {listed}" if near else listed


def place(path: KeyPath) -> str:
    """A path as people write it: ``embedding.model``, ``gate[0].measure``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def explain(error: ValidationError, document: YamlDocument, model: type[BaseModel], name: str) -> ConfigError:
    """All that is wrong in one error, in the order of the file; the hints follow the same order."""
    problems = sorted(_unknown_first(error.errors(include_url=False)), key=lambda item: _line(item, document))
    lines, hints = [], []
    for problem in problems:
        path = _path(problem)
        message, hint = _describe(problem, path, model)
        line = document.line_of(path)
        lines.append(f"{name}:{line}: {message}" if line else f"{name}: {message}")
        if hint:
            hints.append(f"{place(path)}: {hint}" if len(problems) > 1 else hint)
    return ConfigError("\n".join(lines), hint="\n      ".join(hints) or None)


def _unknown_first(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    # A misspelt required key is reported twice, as unknown and as missing; the first says all.
    misspelt = {(_path(item)[:-1], closest(str(item["loc"][-1]), [str(other["loc"][-1])]))
                for item in problems if item["type"] == "extra_forbidden"
                for other in problems if other["type"] == "missing"}  # fmt: skip
    return [
        item
        for item in problems
        if not (item["type"] == "missing" and (_path(item)[:-1], str(item["loc"][-1])) in misspelt)
    ]


def _path(problem: ErrorDetails) -> KeyPath:
    return tuple(problem["loc"])


def _line(problem: ErrorDetails, document: YamlDocument) -> int:
    return document.line_of(_path(problem)) or 0


def _describe(problem: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> tuple[str, str | None]:
    at, kind, context = place(path), problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        valid = valid_keys(model, path[:-1])
        return f"{at} is not a known key", suggestion(str(path[-1]), valid, place(path[:-1]) or "regen.yaml")
    if kind == "missing":
        return f"{at} is missing", _missing_hint(at)
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        several = "one of " if "," in expected or " or " in expected else ""
        return f"{at} must be {several}{expected}, not {_shown(problem, path)}", _near_literal(
            problem["input"], expected
        )
    if kind == "regen":
        return f"{at}: {context['message']}", context["hint"] or None
    if kind == "value_error":
        return f"{at}: {context['error']}", None
    if kind in _BOUNDS:
        return f"{at} must be {_BOUNDS[kind]} {next(iter(context.values()))}, not {_shown(problem, path)}", None
    if kind in _WANTED:
        return f"{at} must be {_WANTED[kind]}, not {_shown(problem, path)}", _type_hint(kind, problem["input"])
    return f"{at}: {problem['msg']}, not {_shown(problem, path)}", None


def _missing_hint(at: str) -> str:
    examples = {
        "version": "the first line of regen.yaml is `version: 1`",
        "source": "for example `source: {kind: files, path: docs}`",
        "embedding": "for example `embedding: {model: wordllama/l2-supercat-256}`",
        "embedding.model": "for example `model: wordllama/l2-supercat-256`",
    }
    return examples.get(at, "add the key, or take its block out")


def _near_literal(found: object, expected: str) -> str | None:
    words = [word.strip() for word in expected.replace(" or ", ",").split(",")]
    near = closest(str(found), words)
    return f"did you mean {near!r}?" if near else None


def _type_hint(kind: str, found: object) -> str | None:
    if kind == "string_type" and found is not None and not isinstance(found, list | Mapping):
        return f'put it in quotes: "{found}"'
    if kind in {"int_type", "float_type", "bool_type"} and isinstance(found, str):
        return "write it without quotes"
    if kind == "model_type" and isinstance(found, str) and "://" in found:
        return 'write `{url: "..."}`'
    return None


def _shown(problem: ErrorDetails, path: KeyPath) -> str:
    if any(is_secret_key(str(part)) for part in path):
        return "what is there"
    found = problem["input"]
    if isinstance(found, Mapping):
        return "a mapping"
    if isinstance(found, list):
        return "a list"
    text = "empty" if found is None else mask_credentials(repr(found))
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def valid_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that are valid at a place of the file; empty where any key is."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part)
        inner = None if field is None else _block_of(field.annotation)
        if inner is None:
            return []
        current = inner
    return list(cast("type[BaseModel]", current).model_fields)


def _block_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, Holds):
        return annotation.block
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    parts = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return next((block for part in parts if (block := _block_of(part))), None)
