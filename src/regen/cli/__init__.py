"""The command line: one file per group of verbs, rendering apart from doing. Every verb calls ``regen.index.Index``."""

from __future__ import annotations

import gc
import sys

from regen.engine.allocations import fewer_collections


def main() -> None:
    """Run the ``regen`` command with the process's arguments; the exit codes are those of docs/reference/cli.md."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks must not lose the answer
    with fewer_collections():  # what an import makes stays: looking for rubbish in it takes a sixth of a start
        from regen.cli.app import app  # noqa: PLC0415 - importing regen.cli alone stays free of Typer

        try:
            app(prog_name="regen")
        finally:
            gc.freeze()  # the process ends: what is left goes with it, and need not be looked through
