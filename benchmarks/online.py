"""How soon a worse generation is noticed: interleaving beside A/B, and what repeated looks cost in false alarms.

    python -m benchmarks.online [--runs 1000] [--write]

Simulated users click by the position-based model on real rankings (scifact, WordLlama at 256 dimensions against 128 and
64). Every test is looked at all along. ``--write`` puts the tables into docs/benchmarks.md. The data is found as
../shared/data, or where REGEN_DATA says.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks.page import put
from numpy.typing import NDArray
from tests.evaluation.users import (
    Interleavings,
    Judged,
    Users,
    clicked,
    first_crossing,
    preferring,
    wordllama_scifact,
)

from regen.evaluation.evidence import two_rates

ALPHA: Final = 0.05
ONE_EDGE: Final = 2 * ALPHA
"""For the two-sided tests of A/B: an abort, like interleaving's, is wrong in at most 5 % of all cases."""
POWER_AND_ERROR: Final = (1.645 + 1.645) ** 2
"""Squared normal quantiles of a test that aborts wrongly in 5 % and finds the difference in 95 % of all cases."""
LIVE: Final = "256"
USERS: Final = {
    "attentive": Users(),
    "patient": Users(eta=0.5, other=0.02),
    "careless": Users(relevant=0.7, other=0.1),
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """Queries needed by each method for one kind of users and one downgrade."""

    users: str
    candidate: str
    interleaved: Floats
    split: Floats
    johari: Floats
    fixed_interleaved: float
    fixed_split: float

    def cells(self) -> list[str]:
        """The table's line."""
        median = float(np.median(self.interleaved))
        found = np.quantile(self.interleaved, 0.95, method="higher")
        return [
            f"{self.users}, {LIVE} → {self.candidate}",
            shown(median),
            shown(float(found)),
            times(float(np.median(self.split)), median),
            times(float(np.median(self.johari)), median),
            times(self.fixed_split, self.fixed_interleaved, of_fixed=True),
        ]


def shown(queries: float) -> str:
    return f"{queries:,.0f}" if np.isfinite(queries) else "not found"


def times(queries: float, interleaved: float, *, of_fixed: bool = False) -> str:
    if not np.isfinite(queries):
        return "not found"
    against = f" against {interleaved:,.0f}" if of_fixed else ""
    return f"{queries:,.0f}{against} ({queries / interleaved:.1f} ×)"


def measure(judged: Judged, name: str, candidate: str, runs: int, generator: np.random.Generator) -> Row:
    users = USERS[name]
    credits_ = Interleavings.of(judged, LIVE, candidate).credits(users, (runs, 4_000), generator)
    rows, pairs, every = min(runs, 200), 24_000, 10
    clicks = [clicked(judged, arm, users, (rows, pairs), generator) for arm in (LIVE, candidate)]
    live, canary = (np.cumsum(one, axis=1)[:, every - 1 :: every] for one in clicks)
    count = np.arange(every, pairs + 1, every)
    a, b = (float(one.mean()) for one in clicks)
    return Row(
        name,
        candidate,
        first_crossing(preferring(credits_, "below"), ALPHA),
        2 * every * first_crossing(two_rates(live, count, canary, count), ONE_EDGE),
        2 * every * first_crossing(johari(live, canary, count), ONE_EDGE),
        POWER_AND_ERROR * float(credits_.var()) / float(credits_.mean()) ** 2,
        2 * POWER_AND_ERROR * (a * (1 - a) + b * (1 - b)) / (a - b) ** 2,
    )


def johari(live: NDArray[Any], canary: NDArray[Any], count: NDArray[np.int64]) -> Floats:
    """The mixture SPRT of two streams with estimated variance: valid for many queries only, hence its late start."""
    a, b, prior = live / count, canary / count, 0.05**2
    variance = np.maximum(a * (1 - a) + b * (1 - b), 1e-6)
    seen = variance + count * prior
    evidence = 0.5 * np.log(variance / seen) + prior * (count * (b - a)) ** 2 / (2 * variance * seen)
    return np.where(count >= 100, evidence, -np.inf)


def false_alarms(judged: Judged, runs: int, generator: np.random.Generator) -> list[list[str]]:
    """Shares of A/A runs with a verdict, each looked at after every query."""
    users, size = USERS["attentive"], (runs, 2_000)
    draws = [Interleavings.of(judged, *pair).credits(users, size, generator) for pair in (("256", "64"), ("64", "256"))]
    credits_ = np.where(generator.random(size) < 0.5, *draws)
    either = np.maximum(*(preferring(credits_, side) for side in ("below", "above"))) - np.log(2)
    arms = [np.cumsum(clicked(judged, LIVE, users, size, generator), axis=1) for _ in range(2)]
    count = np.arange(1, size[1] + 1)
    total = np.cumsum(credits_, axis=1)
    usual = np.abs(total) > 1.96 * np.sqrt(np.maximum(np.cumsum(credits_**2, axis=1) - total**2 / count, 1e-9))
    by_query, by_key = heavy_users(runs, generator)
    return [
        ["interleaving: an abort", alarm(first_crossing(preferring(credits_, "below"), ALPHA))],
        ["interleaving: either side, at 5 % for both", alarm(first_crossing(either, ALPHA))],
        ["A/B by click rate", alarm(first_crossing(two_rates(arms[0], count, arms[1], count), ALPHA))],
        ["A/B, users of 20 queries each, each user counted once", alarm(by_key)],
        ["A/B, users of 20 queries each, each query counted: wrong", alarm(by_query)],
        [
            "interleaving, z-test at 5 % from the 100th query on: wrong",
            f"{float(usual[:, 99:].any(axis=1).mean()):.1%}",
        ],
    ]


def heavy_users(runs: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """A/A runs of 100 sticky users an arm with 20 queries each, who differ in how readily they click."""
    readiness = generator.beta(1, 1, (2, runs, 100))
    clicks = generator.binomial(20, readiness)
    totals, users = np.cumsum(clicks, axis=2), np.arange(1, 101)
    by_query = two_rates(totals[0], 20 * users, totals[1], 20 * users)
    by_key = two_rates(totals[0] / 20, users, totals[1] / 20, users)
    return first_crossing(by_query, ALPHA), first_crossing(by_key, ALPHA)


def alarm(first: Floats) -> str:
    return f"{float(np.isfinite(first).mean()):.1%}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(judged: Judged, runs: int) -> str:
    generator = np.random.default_rng(2026)
    rows = [measure(judged, users, candidate, runs, generator) for users in USERS for candidate in ("64", "128")]
    needed = table(
        [
            "users, downgrade", "interleaving: median", "95 % by", "A/B, regen's exact test", "A/B, mixture SPRT",
            "A/B against interleaving, size fixed beforehand",
        ],
        [row.cells() for row in rows],
    )  # fmt: skip
    alarms = table(["A/A, looked at after every query", "a verdict"], false_alarms(judged, 2 * runs, generator))
    return f"{needed}\n\n{alarms}\n"


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--runs", type=int, default=1_000)
    arguments.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks.md")
    chosen = arguments.parse_args()
    folder = Path(os.environ.get("REGEN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "scifact"
    if not folder.is_dir():
        sys.exit(f"no scifact in {folder.parent}\nHint: set REGEN_DATA to the folder that holds it")
    text = report(wordllama_scifact(folder), chosen.runs)
    print(text)
    if chosen.write:
        put("online", text)


if __name__ == "__main__":
    main()
