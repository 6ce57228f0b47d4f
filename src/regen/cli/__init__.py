"""The command line: one file per group of verbs, rendering apart from doing. Every verb calls ``regen.index.Index``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the ``regen`` command with the process's arguments; the exit codes are those of docs/reference/cli.md."""
    from regen.cli.app import app  # noqa: PLC0415 - importing regen.cli alone stays free of Typer

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks must not lose the answer
    app(prog_name="regen")
