"""Lines of text that align: the small vocabulary of everything the command line says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

GOOD, BAD, NOTE = "bold green", "bold red", "yellow"
LABEL_WIDTH = 12


def good(text: str) -> Text:
    """A line that says that all is well."""
    return Text.assemble(("✓ ", GOOD), (text, "bold"))


def bad(text: str) -> Text:
    """A line that says what is wrong."""
    return Text.assemble(("✗ ", BAD), (text, "bold"))


def note(text: str) -> Text:
    """A line that says what should be known."""
    return Text.assemble(("! ", NOTE), text)


def labelled(label: str, text: str | Text) -> Text:
    """``  documents   12 added``: labels align under each other."""
    return Text.assemble("  ", (label.ljust(LABEL_WIDTH), "dim"), text)


def hint(text: str) -> Text:
    """What to do next."""
    return Text.assemble(("  → ", "cyan"), text)


def listed(parts: Iterable[str]) -> str:
    """Parts on one line, the empty ones left out."""
    return " · ".join(part for part in parts if part)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> Iterator[Text]:
    """A header and rows in aligned columns; those numbered in ``right`` are flush right; the last is never padded."""
    widths = [max(Text(row[at]).cell_len for row in (header, *rows)) for at in range(len(header))]
    yield Text("  " + _row(header, widths, right), style="dim")
    for row in rows:
        yield Text("  " + _row(row, widths, right))


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded = []
    for at, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - Text(cell).cell_len)
        padded.append(space + cell if at in right else cell + space)
    return "  ".join(padded).rstrip()
