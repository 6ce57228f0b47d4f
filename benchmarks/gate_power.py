"""How often the gate is right, by the true difference and the number of judged queries.

    python -m benchmarks.gate_power [--runs 400]

Differences are drawn with replacement from real ones (nDCG@10 of WordLlama with 256 dimensions against 64 on scifact's
300 queries, tests/evaluation/per_query.tsv), moved so that their true mean is the one in the table's column. The last
table moves nothing: R@100 of 64 dimensions against 256, where few queries lose and those lose all. Each drawn
collection is judged as a gate with one condition would. Prints Markdown for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regen.evaluation.gate import side_of
from regen.evaluation.statistics import Sample, estimate_together

VALUES = Path(__file__).parents[1] / "tests" / "evaluation" / "per_query.tsv"
QUERIES = (20, 50, 100, 300)
LIFTS = (-0.1, -0.05, 0.0, 0.01, 0.02, 0.05, 0.1, 0.15)
DROPS = (0.1, 0.05, 0.02, 0.0, -0.02, -0.05)
MARGIN = 0.05


def differences(measure: str) -> NDArray[np.float64]:
    with VALUES.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["collection"] == "scifact"]
    sides = [[float(row[f"wordllama/l2-supercat-{size} {measure}"]) for row in rows] for size in (64, 256)]
    small, large = np.array(sides, dtype=np.float64)
    return np.asarray(large - small, dtype=np.float64)


def verdicts(pool: NDArray[np.float64], queries: int, mean: float, bound: float, runs: int) -> Counter[str]:
    """How often each verdict is given on drawn collections whose true mean difference is ``mean``."""
    rng = np.random.default_rng([queries, runs])
    told: Counter[str] = Counter()
    for run in range(runs):
        drawn = rng.choice(pool - pool.mean(), queries) + mean
        (estimate,) = estimate_together([Sample(drawn, (-1.0, 1.0))], resamples=999, seed=run)
        told[side_of(estimate, bound)] += 1
    return told


def table(pool: NDArray[np.float64], means: tuple[float, ...], bound: float, runs: int) -> None:
    print("| judged queries |", " | ".join(f"{mean:+.2f}" for mean in means), "|")
    print("| --- |", " | ".join("---" for _ in means), "|")
    for queries in QUERIES:
        cells = []
        for mean in means:
            told = verdicts(pool, queries, mean, bound, runs)
            cells.append(" / ".join(f"{100 * told[each] / runs:.0f}" for each in ("promote", "cannot_tell", "hold")))
        print(f"| {queries} |", " | ".join(cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=400, help="collections drawn for each cell")
    runs = parser.parse_args().runs
    pool = differences("nDCG@10")
    print(f"Standard deviation of the differences: {pool.std(ddof=1):.3f}; {runs} collections a cell.\n")
    print("`min_lift: 0`, by true lift; promote / cannot tell / hold in per cent:\n")
    table(pool, LIFTS, 0.0, runs)
    print(f"\n`max_drop: {MARGIN:g}`, by true lift:\n")
    table(pool, tuple(0.0 - drop for drop in DROPS), -MARGIN, runs)
    rare = -differences("R@100")
    lost, won = (rare < 0).mean(), (rare > 0).mean()
    print(f"\nRare losses: {lost:.0%} of the queries lose, {won:.0%} win; `max_drop: {MARGIN:g}`:\n")
    table(rare, (float(rare.mean()),), -MARGIN, runs)


if __name__ == "__main__":
    main()
