"""Memory of a first load and of a sync that finds nothing changed, by corpus size: it should not grow with the corpus.

    python -m benchmarks.sync_memory [--documents 20000 200000]

Each size runs in a process of its own. The documents are those of ``benchmarks.sync``, mixed into as many others
as are wanted while they are delivered, so that the source holds none of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.floors import LanceFloor
from benchmarks.sync import open_index
from benchmarks.workload import MixedSource, Peak, TrivialEmbedder, load
from rich.console import Console
from rich.table import Table


def measure(count: int) -> dict[str, float]:
    """Megabytes before, and above that at the peak of each step; seconds."""
    source, embedder = MixedSource(load("v1"), count), TrivialEmbedder()
    with tempfile.TemporaryDirectory(prefix="regen-bench-") as folder:
        index = open_index(Path(folder), LanceFloor(), source, embedder)
        with Peak() as first:
            index.sync()
        with Peak() as again:
            index.sync()
        index.close()
    return {
        "documents": count,
        "before": first.base,
        "load": first.peak - first.base,
        "load_seconds": first.seconds,
        "again": again.peak - first.base,
        "again_seconds": again.seconds,
    }


def in_a_fresh_process(count: int) -> dict[str, float]:
    """The same, measured by another process."""
    command = [sys.executable, "-m", "benchmarks.sync_memory", "--measure", str(count)]
    result: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    table = Table("documents", "MB before", "load: MB more", "no change: MB more", "load, s", "no change, s")
    for count in arguments.documents:
        row = in_a_fresh_process(count)
        table.add_row(
            f"{count:,}", f"{row['before']:.0f}", f"{row['load']:.0f}", f"{row['again']:.0f}",
            f"{row['load_seconds']:.1f}", f"{row['again_seconds']:.1f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
