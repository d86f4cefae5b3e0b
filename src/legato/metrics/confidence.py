"""How sure a figure is: exact bounds of a share, and the bootstrap of a difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`."""

    low: float
    high: float


def share_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided bounds of a probability (Clopper and Pearson 1934), exact at any size."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes of {trials} trials cannot be")
    tail = (1 - confidence) / 2
    low = _solve(lambda p: 1 - _binomial_cdf(successes - 1, trials, p) - tail)
    high = _solve(lambda p: tail - _binomial_cdf(successes, trials, p))
    return Interval(low if successes else 0.0, high if successes < trials else 1.0)


def _solve(rising: Callable[[float], float]) -> float:
    """The root in 0..1 of a function that rises, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _binomial_cdf(successes: int, trials: int, p: float) -> float:
    """P(X ≤ successes) for X ~ B(trials, p), 0 < p < 1."""
    terms = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(p) + (trials - k) * math.log1p(-p)
        for k in range(successes + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(math.exp(term) for term in terms))


Statistic = Callable[[NDArray[np.intp]], float]


def bootstrap_difference(
    first: Statistic,
    first_size: int,
    second: Statistic,
    second_size: int,
    *,
    confidence: float = CONFIDENCE,
    rounds: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of second − first when requests are drawn again with replacement (Efron 1979).

    Args:
        first: the figure of the requests with these indices, 0 … first_size − 1.
        first_size: how many requests the first run has.
        second: the same of the second run.
        second_size: how many requests the second run has.
        confidence: share of the resampled differences inside (percentile method).
        rounds: how often to draw.
        seed: makes the interval reproducible.
    """
    generator = np.random.default_rng(seed)
    differences = [
        second(generator.integers(0, second_size, second_size))
        - first(generator.integers(0, first_size, first_size))
        for _ in range(rounds)
    ]
    low, high = np.nanquantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
