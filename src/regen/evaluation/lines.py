"""Lines of a judged collection's files, numbered and decoded; what is wrong with one is said with its number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from regen.errors import EvaluationError

SHOWN: Final = 3
"""How many examples a reported problem names."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end. ``file`` and ``number`` (from 1) are for messages."""

    file: str
    number: int
    text: str

    @property
    def place(self) -> str:
        """Where it is: ``queries.jsonl, line 7``."""
        return f"{self.file}, line {self.number}"

    def refuse(self, found: str, valid: str, *, hint: str | None = None) -> NoReturn:
        """Raise EvaluationError: what was found here, and what is valid."""
        raise EvaluationError(f"{self.place}: {found}. Valid: {valid}.", hint=hint)


def numbered(lines: Iterable[str | bytes], file: str) -> Iterator[Line]:
    """The lines that hold anything, decoded as UTF-8 (a byte order mark is skipped). Raises EvaluationError."""
    for number, raw in enumerate(lines, start=1):
        line = Line(file, number, _decoded(raw, file, number).rstrip("\r\n"))
        if "\0" in line.text:
            line.refuse("a NUL character", "text in UTF-8", hint="Is the file compressed, or saved as UTF-16?")
        if line.text.strip():
            yield line


def _decoded(raw: str | bytes, file: str, number: int) -> str:
    try:
        # A str can hold halves of characters (surrogates) from a lenient reader; encoding it finds them.
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw.encode("utf-8").decode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        Line(file, number, "").refuse(
            f"bytes that are not UTF-8 ({error.reason})", "text in UTF-8", hint="Save the file as UTF-8."
        )
    return text.removeprefix("\ufeff") if number == 1 else text


def some(names: Iterable[str]) -> str:
    """The first few names, for a message: ``'a', 'b', 'c', …``."""
    listed = list(names)
    return ", ".join(repr(name) for name in listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 query``, ``2 queries``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
