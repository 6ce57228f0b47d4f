"""What a sync and a search make catalog and store do, counted without a clock: equal on any machine.

    python -m benchmarks.counts [--documents 2000 8000]

The tests hold these counts (tests/engine/test_work_counts.py), so that a regression shows where no time can be trusted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.workload import MixedSource, TrivialEmbedder, load
from rich.console import Console
from rich.table import Table

from regen.core.recipe import Chunking
from regen.index import Index
from regen.testing.work_counts import counted


def main() -> None:
    """Print the counts of each step at each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, nargs="+", default=[2_000, 8_000])
    given = parser.parse_args()
    table = Table("documents", "step", "SQL statements", "store calls", "points", "vector bytes", "Python MB at once")
    for count in given.documents:
        source = MixedSource(load("v1"), count)
        with (
            tempfile.TemporaryDirectory(prefix="regen-bench-") as folder,
            Index(
                embedder=TrivialEmbedder(), store="lancedb://vectors", catalog="sqlite:///catalog.db", source=source,
                chunking=Chunking("whole"), root=Path(folder),
            ) as index,
        ):  # fmt: skip
            steps: dict[str, Callable[[], object]] = {
                "load": index.sync,
                "nothing": index.sync,
                "edit": index.sync,
                "search": lambda: index.search("disk"),
            }
            for name, step in steps.items():
                if name == "edit":
                    source.edited = True
                with counted(index, memory=True) as seen:
                    step()
                calls = ", ".join(f"{call} {number}" for call, number in sorted(seen.store_calls.items()))
                table.add_row(
                    f"{count:,}", name, str(seen.statements), calls, f"{seen.points:,}", f"{seen.vector_bytes:,}",
                    f"{seen.most_python_bytes / 1e6:.1f}",
                )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
