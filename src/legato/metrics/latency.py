"""Latency of one request, and the one definition of a percentile.

Each figure hides something: TTFT the prompt's length, TBT when a stall came, TPOT jitter and
stalls, normalized latency the scheduling delay. Fluidity (`fluidity.py`) stands beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from legato.metrics.timeline import Timeline

NS_PER_SECOND = 1_000_000_000


def ttft_ns(timeline: Timeline) -> int:
    """Time to first token, queueing and prefill included: t_0 − t_a."""
    return _stamps(timeline)[0] - timeline.arrival_ns


def tbt_ns(timeline: Timeline) -> list[int]:
    """Times between tokens g_i, i ≥ 1. Pool them over requests; never average per request."""
    return timeline.gaps_ns()[1:]


def tpot_ns(timeline: Timeline) -> float | None:
    """Mean time per output token after the first, (t_last − t_0)/(n − 1); None for n = 1."""
    stamps = _stamps(timeline)
    if len(stamps) == 1:
        return None
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1)


def total_ns(timeline: Timeline) -> int:
    """From arrival to the last token: t_last − t_a."""
    return _stamps(timeline)[-1] - timeline.arrival_ns


def normalized_latency_ns(timeline: Timeline) -> float:
    """(t_last − t_a)/n, per output token."""
    return total_ns(timeline) / timeline.output_tokens


def _stamps(timeline: Timeline) -> list[int]:
    if not timeline.stamps_ns:
        raise ValueError("a request without output tokens has no latency; count it as a failure")
    return timeline.stamps_ns


def percentile(values: Sequence[float], percent: float) -> float:
    """The `percent`-th percentile, linear between order statistics.

    Position h = (n − 1)·percent/100 in the sorted values, interpolated between floor(h) and
    ceil(h): type 7 of Hyndman and Fan (1996), which is also numpy's default.
    """
    return _of_sorted(sorted(values), percent)


def _of_sorted(ordered: Sequence[float], percent: float) -> float:
    if not ordered:
        raise ValueError("no values, no percentile")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be in [0, 100], not {percent}")
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = math.ceil(position)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution in six figures, in the unit of its values. `count` says of how many."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution | None:
        """Summarise `values`; None when there are none."""
        if not values:
            return None
        ordered = sorted(values)
        p50, p90, p99 = (_of_sorted(ordered, percent) for percent in (50, 90, 99))
        return cls(len(ordered), math.fsum(ordered) / len(ordered), p50, p90, p99, ordered[-1])
