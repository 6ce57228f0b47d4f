"""Evidence that may be looked at after every query: log Bayes-like mixtures as plain formulas on arrays.

Each function gives the logarithm of a process that starts at 1 and, while the hypothesis holds, never rises on average
(a test martingale). By Ville's inequality it ever reaches 1/alpha with a probability of at most alpha, however often
one looks and whenever one stops. All arguments broadcast; ``log(1 / alpha)`` is the threshold of each.

Sources: the mixture method is Robbins, "Statistical methods related to the law of the iterated logarithm" (1970);
the normal mixture as a test of A/B experiments Johari, Koomen, Pekelis, Walsh, "Always valid inference" (Operations
Research 70, 2022); the beta and gamma mixtures and the sub-Bernoulli and empirical-Bernstein conditions under which
they hold for bounded outcomes Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
confidence sequences" (Annals of Statistics 49, 2021); dividing by the best explanation that the hypothesis allows is
universal inference, Wasserman, Ramdas, Balakrishnan (PNAS 117, 2020).
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
EdgeSide: TypeAlias = Literal["below", "above"]

JEFFREYS: Final = 0.5
"""The prior Beta(1/2, 1/2) of a rate of which nothing is known: good near 0 and 1, where error rates lie."""
BETS: Final[Floats] = np.geomspace(0.004, 0.99, 24)
"""Shares of the wealth that ride on a query: down to small ones, which subtle preferences need."""
WEIGHTS: Final[Floats] = (BETS + 0.02) / (BETS + 0.02).sum()
"""What each bet gets at the start: as if all sizes were alike, with something left over for the small ones."""


def beta_mixture(total: ArrayLike, count: ArrayLike, mean: ArrayLike, prior: float = JEFFREYS) -> Floats:
    """Against "the mean is ``mean``", for outcomes in [0, 1] with the sum ``total`` over ``count`` queries.

    Exact for any outcomes in [0, 1], not only for 0 and 1: each factor is linear in the outcome. Mixed over
    Beta(prior, prior).
    """
    hits, misses = np.asarray(total, float), np.asarray(count, float) - np.asarray(total, float)
    return _beta_marginal(hits, misses, prior) - _likelihood(hits, misses, np.asarray(mean, float))


def credit_mixture(won: ArrayLike, counts: ArrayLike, share: ArrayLike, side: EdgeSide) -> Floats:
    """For "the candidate wins less (``below``) or more (``above``) than ``share`` of the credit", against the contrary.

    ``counts`` queries gave each of the credits ``won`` in [-1, 1]; both (levels,), ``share`` (...). Each query is bet
    upon (Waudby-Smith, Ramdas, JRSS B 86, 2024), by a mixture of fixed bets, which does about as well as the best of
    them (Cover, "Universal portfolios", 1991) and does not ask in which order the queries came. Where all credits are
    whole it is a sign test.
    """
    paid = payments(won, np.asarray(share, float)[..., np.newaxis, np.newaxis], side, bets=BETS[:, np.newaxis])
    log_wealth = np.log1p(paid) @ np.asarray(counts, float)
    return np.asarray(scipy.special.logsumexp(log_wealth + np.log(WEIGHTS), axis=-1), float)


def payments(won: ArrayLike, share: ArrayLike, side: EdgeSide, *, bets: Floats) -> Floats:
    """What bets gain or lose by credits, as a share of the wealth; all arguments broadcast.

    On average nothing or less, as long as the contrary of ``side`` holds.
    """
    credit, part = np.asarray(won, float), np.clip(np.asarray(share, float), 1e-9, 1 - 1e-9)
    if side == "above":
        credit, part = -credit, 1 - part
    return np.asarray(bets * np.where(credit > 0, -credit, -credit * part / (1 - part)), float)


def normal_mixture(deviation: ArrayLike, count: ArrayLike, variance: float, spread: float) -> Floats:
    """Mixture SPRT: ``deviation`` is the sum of (outcome - mean), each outcome sub-Gaussian with ``variance``.

    ``spread`` is the variance of the normal prior over the true difference from the mean.
    """
    seen = variance + np.asarray(count, float) * spread
    return 0.5 * np.log(variance / seen) + spread * np.square(deviation) / (2 * variance * seen)


def gamma_mixture(deviation: ArrayLike, variation: ArrayLike, scale: float, expected: float) -> Floats:
    """Empirical Bernstein, against "the mean is no greater": adapts to outcomes that vary less than they could.

    ``deviation`` is the sum of (outcome - mean), ``variation`` the sum of squares of (outcome - its prediction made
    before it was seen), ``scale`` the width of the outcomes' range, ``expected`` the variation where it is tightest.
    """
    scaled = expected / scale**2
    shape = (np.asarray(variation, float) + expected) / scale**2
    rise = np.maximum(np.asarray(deviation, float), 0.0) / scale
    rate = rise + shape
    start = scaled * np.log(scaled) - scipy.special.gammaln(scaled) - np.log(scipy.special.gammainc(scaled, scaled))
    mixed = scipy.special.gammaln(shape) + np.log(scipy.special.gammainc(shape, rate)) - shape * np.log(rate)
    return np.asarray(start + mixed + rate - scaled, float)


def two_rates(
    total_a: ArrayLike, count_a: ArrayLike, total_b: ArrayLike, count_b: ArrayLike, delta: ArrayLike = 0.0
) -> Floats:
    """Against "mean of b = mean of a + delta", for outcomes in [0, 1] of two arms, whatever share each one gets.

    Each arm's own beta mixture, over the pair of rates ``delta`` apart that explains both best. It needs the four
    sums only, so they may come late, in any order and from many processes.
    """
    a, b = _hits_and_misses(total_a, count_a), _hits_and_misses(total_b, count_b)
    rate = _best_rate(a, b, np.asarray(delta, float))
    explained = _likelihood(*a, rate) + _likelihood(*b, np.clip(rate + np.asarray(delta, float), 0.0, 1.0))
    return np.asarray(_beta_marginal(*a, JEFFREYS) + _beta_marginal(*b, JEFFREYS) - explained, float)


def _hits_and_misses(total: ArrayLike, count: ArrayLike) -> tuple[Floats, Floats]:
    hits = np.asarray(total, float)
    return hits, np.asarray(count, float) - hits


def _beta_marginal(hits: Floats, misses: Floats, prior: float) -> Floats:
    return np.asarray(scipy.special.betaln(hits + prior, misses + prior) - scipy.special.betaln(prior, prior), float)


def _likelihood(hits: Floats, misses: Floats, rate: Floats) -> Floats:
    return np.asarray(scipy.special.xlogy(hits, rate) + scipy.special.xlogy(misses, 1.0 - rate), float)


def _best_rate(a: tuple[Floats, Floats], b: tuple[Floats, Floats], delta: Floats) -> Floats:
    """The rate of a that explains both arms best when b's is ``delta`` more: bisection on a falling slope."""
    if not delta.any():
        hits, misses = a[0] + b[0], a[1] + b[1]
        return np.asarray(hits / np.maximum(hits + misses, 1e-300), float)
    low, high = np.broadcast_arrays(np.maximum(0.0, -delta), np.minimum(1.0, 1.0 - delta))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(50):
            middle = (low + high) / 2
            rising = _slope(a, middle) + _slope(b, middle + delta) > 0
            low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.asarray((low + high) / 2, float)


def _slope(arm: tuple[Floats, Floats], rate: Floats) -> Any:
    return arm[0] / rate - arm[1] / (1.0 - rate)
