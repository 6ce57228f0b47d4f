"""The whole of online comparison against simulated users on real rankings: who is aborted, how soon, and who is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.evaluation.users import Interleavings, Judged, Users, clicked, first_crossing, preferring, wordllama_scifact

from regen.evaluation.evidence import two_rates
from regen.evaluation.interleave import BASELINE, CANDIDATE, outcome, team_draft
from regen.evaluation.rollout import Analysis, RolloutState, advance, start
from regen.evaluation.routing import canary_split
from regen.evaluation.sequential import Preference
from regen.evaluation.tallies import Measurement

ALPHA = 0.05
USERS = Users()
CARELESS = Users(relevant=0.7, other=0.1)
RUNS = 2_000
LOOKS = [400, pytest.param(5_000, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def judged(real_data: Path) -> Judged:
    """The collection scifact as WordLlama ranks it at 64 and at 256 dimensions."""
    if not (real_data / "scifact").is_dir():
        pytest.skip(f"no scifact in {real_data}")
    return wordllama_scifact(real_data / "scifact", (64, 256))


@pytest.fixture(scope="module")
def downgrade(judged: Judged) -> Interleavings:
    """Live is WordLlama-256, the canary WordLlama-64."""
    return Interleavings.of(judged, "256", "64")


def queries_until_abort(credits_: NDArray[np.float64]) -> NDArray[np.float64]:
    """After how many queries each run of credits (runs, queries) says "worse"; infinity for never."""
    return first_crossing(preferring(credits_, "below"), ALPHA)


@pytest.mark.parametrize("looks", LOOKS)
def test_equals_are_hardly_ever_aborted(judged: Judged, downgrade: Interleavings, looks: int) -> None:
    """2,000 A/A runs with a look after every query: two generations that take turns at being the better one."""
    generator = np.random.default_rng(11)
    upgrade = Interleavings.of(judged, "64", "256")
    aborted = 0
    for _ in range(20):
        size = (RUNS // 20, looks)
        turn = generator.random(size) < 0.5
        credits_ = np.where(
            turn, downgrade.credits(USERS, size, generator), upgrade.credits(USERS, size, generator)
        )  # fmt: skip
        assert 0.1 < float((credits_ != 0).mean()) < 0.9, "there is something to look at"
        aborted += int(np.isfinite(queries_until_abort(credits_)).sum())
    assert aborted <= ALPHA * RUNS, f"{aborted} of {RUNS} A/A runs aborted"


@pytest.mark.parametrize("looks", LOOKS)
def test_equal_arms_are_hardly_ever_aborted(judged: Judged, looks: int) -> None:
    """2,000 A/A runs by click rate, both arms the same generation, each query's arm chosen by the product's routing."""
    generator = np.random.default_rng(12)
    split = canary_split(0.25, "a/a")
    canary = np.array([split.arm(f"query-{number}") == "canary" for number in range(looks)])
    aborted = 0
    for _ in range(20):
        clicks = clicked(judged, "256", USERS, (RUNS // 20, looks), generator)
        live_total, canary_total = (np.cumsum(clicks & arm, axis=1) for arm in (~canary, canary))
        evidence = two_rates(live_total, np.cumsum(~canary), canary_total, np.cumsum(canary))
        aborted += int(np.isfinite(first_crossing(evidence, ALPHA)).sum())
    assert aborted <= ALPHA * RUNS, f"{aborted} of {RUNS} A/A runs aborted"


def test_the_same_generation_twice_prefers_nobody(judged: Judged) -> None:
    """Rankings that agree are one common prefix: not a single query is decided, so nothing can go wrong by chance."""
    generator = np.random.default_rng(13)
    same = Interleavings.of(judged, "256", "256", seeds=2)
    assert not same.credits(USERS, (50, 400), generator).any()


@pytest.mark.parametrize("runs", [400, pytest.param(RUNS, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "users", [USERS, Users(eta=0.5, other=0.02), CARELESS], ids=["attentive", "patient", "careless"]
)
def test_a_real_downgrade_is_aborted_soon(downgrade: Interleavings, users: Users, runs: int) -> None:
    """From WordLlama-256 to -64: at least 95 % of the runs abort, at the median before 300 interleaved queries."""
    until = queries_until_abort(downgrade.credits(users, (runs, 1_500), np.random.default_rng(14)))
    assert float(np.isfinite(until).mean()) >= 0.95
    assert float(np.median(until)) < 300
    assert until.min() >= 10, "no verdict on next to nothing"


def test_a_real_upgrade_is_not_aborted(judged: Judged) -> None:
    """The other way round nobody is sent back, but for the 5 % that chance may take."""
    upgrade = Interleavings.of(judged, "64", "256", seeds=8)
    until = queries_until_abort(upgrade.credits(USERS, (500, 1_000), np.random.default_rng(15)))
    assert float(np.isfinite(until).mean()) <= ALPHA


def test_interleaving_needs_a_tenth_of_the_queries(judged: Judged, downgrade: Interleavings) -> None:
    """At the same bound on error, the always-valid A/B test of click rates needs ten times as many queries and more."""
    generator = np.random.default_rng(16)
    interleaved = queries_until_abort(downgrade.credits(USERS, (500, 1_000), generator))
    pairs = np.arange(1, 2_001)
    live, canary = (np.cumsum(clicked(judged, name, USERS, (300, 2_000), generator), axis=1) for name in ("256", "64"))
    split = 2 * first_crossing(two_rates(live, pairs, canary, pairs), ALPHA)
    assert float(np.isfinite(split).mean()) > 0.8, "A/B finds it too, in its own time"
    assert float(np.median(split)) >= 10 * float(np.median(interleaved))


def test_the_rollout_decides_as_the_formulas_do(judged: Judged) -> None:
    """Query by query through draft, credit and state machine: each run ends at the query that the array says."""
    generator = np.random.default_rng(17)
    analysis = Analysis(success_condition=None, failure_condition="preference < 0.5", inconclusive_limit=10_000)
    ended = []
    for run in range(4):
        state, credits_, aborted_at = start(analysis), [], 0
        for number in range(350):
            credits_.append(ask(judged, f"{run}/{number}", generator))
            if not aborted_at:
                state, action = advance(state, Measurement(preference=Preference().update(credits_[-1])))
                aborted_at = number + 1 if action.kind == "abort" else 0
        expected = queries_until_abort(np.array([credits_]))[0]
        assert aborted_at == (expected if np.isfinite(expected) else 0)
        ended.append(aborted_at)
        assert RolloutState.from_dict(state.to_dict()) == state
    assert any(ended)


def ask(judged: Judged, query_id: str, generator: np.random.Generator) -> float:
    """One user's query, live against canary: what their clicks say."""
    query = int(generator.integers(len(judged.relevant)))
    pair = {BASELINE: judged.rankings["256"][query], CANDIDATE: judged.rankings["64"][query]}
    shown = team_draft(pair, seed=query_id, k=10)
    relevant = np.array([doc_id in judged.relevant[query] for doc_id in shown.documents])
    clicks = USERS.clicks(relevant, generator)
    return outcome(shown, [doc_id for doc_id, hit in zip(shown.documents, clicks, strict=True) if hit])
