"""How long it takes until a command does something, and what the alignment of two models costs.

    python -m benchmarks.startup [--runs 15] [--write]

Each start is a process of its own, in turn with one that does nothing, so that what the machine does meanwhile shows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.page import put

from regen.spaces.maps import fit
from regen.spaces.vectors import normalize

MAIN: Final = ("-c", "from regen.cli import main; main()")
STARTS: Final[dict[str, tuple[tuple[str, ...], float]]] = {
    "`import regen`": (("-c", "import regen"), 0.3),
    "`regen --help`": ((*MAIN, "--help"), 0.4),
    "`regen status`": ((*MAIN, "status"), 0.6),
}
NOTHING: Final = ("-c", "pass")
PAIRS, DIMENSIONS = 4_000, 384


def seconds(words: tuple[str, ...], folder: Path) -> float:
    """How long a process takes."""
    started = time.perf_counter()
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL, env=usual)
    return time.perf_counter() - started


def judged(value: float, target: float, unit: str) -> str:
    """A target, and whether it is met."""
    return f"{target:g} {unit}: {'met' if value < target else '**a miss**'}"


def starts(runs: int) -> list[str]:
    """A line for each way to start."""
    found: dict[str, list[float]] = {name: [] for name in (*STARTS, "nothing")}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "docs").mkdir()
        (folder / "docs" / "a.md").write_text("A river carries stones to the sea.")
        (folder / "regen.yaml").write_text(
            "version: 1\nsource: {kind: files, path: docs}\nembedding: {model: hashing/64}\n"
        )
        subprocess.run([sys.executable, *MAIN, "sync"], cwd=folder, check=True, capture_output=True)
        for _ in range(runs):
            found["nothing"].append(seconds(NOTHING, folder))
            for name, (words, _) in STARTS.items():
                found[name].append(seconds(words, folder))
    nothing = float(np.median(found.pop("nothing")))
    lines = []
    for name, times in found.items():
        own, told = float(np.median(times)), f"{float(np.median(times)) / nothing:.0f} times a Python that does nothing"
        lines.append(f"| {name} | {own:.2f} s, {told} | {judged(own, STARTS[name][1], 's')} |")
    return lines


def alignment() -> list[str]:
    """A ridge map of 384 dimensions on 4,000 pairs: its fit, and one query."""
    rng = np.random.default_rng(0)
    source = normalize(rng.standard_normal((PAIRS, DIMENSIONS)).astype(np.float32))
    target = normalize((source @ rng.standard_normal((DIMENSIONS, DIMENSIONS))).astype(np.float32))
    fits, calls = [], []
    for _ in range(5):
        started = time.perf_counter()
        fitted = fit("ridge", source, target, seed=0)
        fits.append(time.perf_counter() - started)
    for call in range(5_000):
        query = source[call % PAIRS]
        started = time.perf_counter()
        fitted.apply(query)
        calls.append(time.perf_counter() - started)
    took, one = float(np.median(fits)), float(np.median(calls)) * 1e6
    return [
        f"| ridge map, {DIMENSIONS} → {DIMENSIONS}, of {PAIRS:,} pairs | {took:.2f} s | {judged(took, 1, 's')} |",
        f"| mapping one query | {one:.0f} µs | {judged(one, 50, 'µs')} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Start-up, and the maths of a map.")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = parser.parse_args()
    text = "\n".join(["| | median | target |", "| --- | --- | --- |", *starts(chosen.runs), *alignment()])
    print(text)
    if chosen.write:
        put("startup", text)


if __name__ == "__main__":
    main()
