"""Two ways to do the same tasks: how sure their difference is, task by task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from legato.metrics.confidence import CONFIDENCE, Interval


def mean_interval(
    values: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
    rounds: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bounds of a mean by the percentile bootstrap (Efron 1979), `rounds` times with `seed`.

    For the difference of two ways give the differences task by task. ValueError without values.
    """
    if not values:
        raise ValueError("a mean needs values")
    drawn = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [drawn[generator.integers(0, len(drawn), len(drawn))].mean() for _ in range(rounds)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def share_difference(
    first: Sequence[bool], second: Sequence[bool], *, confidence: float = CONFIDENCE
) -> Interval:
    """Bounds of the share of `second` minus that of `first`, of the same tasks in order.

    Newcombe 1998 (Statistics in Medicine 17, 2635–2650), method 10: Wilson's bounds of both
    shares, combined with the correlation φ of the pairs, corrected for continuity. Unlike the
    bootstrap it does not pretend to be sure where few or no pairs differ.
    """
    if not first:
        raise ValueError("a share needs tasks")
    pairs = list(zip(second, first, strict=True))
    both, only_second = pairs.count((True, True)), pairs.count((True, False))
    only_first, neither = pairs.count((False, True)), pairs.count((False, False))
    n = len(pairs)
    p2, p1 = (both + only_second) / n, (both + only_first) / n
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    wilson2, wilson1 = _wilson(p2, n, z), _wilson(p1, n, z)
    phi = _phi(both, only_second, only_first, neither)
    below = _combine(p2 - wilson2.low, wilson1.high - p1, phi)
    above = _combine(p1 - wilson1.low, wilson2.high - p2, phi)
    return Interval(p2 - p1 - below, p2 - p1 + above)


def _wilson(share: float, n: int, z: float) -> Interval:
    """Wilson's score bounds (Wilson 1927)."""
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Interval(max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale))


def _phi(both: int, only_second: int, only_first: int, neither: int) -> float:
    """Correlation of the pairs, with Newcombe's correction of a positive one; 0 where one way is
    always, or never, right."""
    margins = (
        (both + only_second)
        * (only_first + neither)
        * (both + only_first)
        * (only_second + neither)
    )
    if not margins:
        return 0.0
    excess: float = both * neither - only_second * only_first
    if excess > 0:
        excess = max(0.0, excess - (both + only_second + only_first + neither) / 2)
    return excess / math.sqrt(margins)


def _combine(first: float, second: float, phi: float) -> float:
    return math.sqrt(max(0.0, first * first - 2 * phi * first * second + second * second))
