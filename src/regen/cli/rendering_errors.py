"""Errors as lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from regen.wording import hint_of, message_of


def error_lines(error: Exception) -> Iterator[Text]:
    """What went wrong, and what to do."""
    message, hint = message_of(error), hint_of(error)
    first, *rest = message.splitlines() or [""]
    yield Text.assemble(("Error: ", "bold red"), first)
    for line in rest:
        yield Text(f"       {line}")
    if hint:
        first, *rest = hint.splitlines()
        yield Text.assemble(("Hint:  ", "bold cyan"), first)
        for line in rest:
            yield Text(f"       {line.strip()}")
