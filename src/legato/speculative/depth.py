"""How deep to draft: as many tokens as pay, over the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace

MIN_GAIN = 0.02
"""A drafted token that adds less than this is not worth its bookkeeping."""

MARGIN = 1.02
"""Predicted tokens per second must grow by this much for drafts to be worth the risk."""


def choose_depths(
    rates: Sequence[float],
    limits: Sequence[int],
    step_ns: Callable[[int], float],
    budget_ns: float,
) -> list[int]:
    """Drafted tokens for each sequence, so that expected tokens per predicted second are most.

    Sequence i gains `rates[i]`^j expected tokens from its j-th draft. Drafts join in order of gain;
    of all prefixes of that order the best is taken: optimal where a step's time grows convexly
    with its rows, and never worse than no drafts by the prediction.

    Args:
        rates: probability that a drafted token is right, per sequence, in [0, 1].
        limits: most drafts of each sequence.
        step_ns: predicted time of the step with that many drafted rows added.
        budget_ns: the time that deadlines leave for the step; a longer one is not chosen.
    """
    depths = [0] * len(rates)
    heap = [(-rate, i) for i, (rate, limit) in enumerate(zip(rates, limits, strict=True)) if limit]
    heapify(heap)
    best, best_depths = MARGIN * len(rates) / step_ns(0), list(depths)
    tokens, rows = float(len(rates)), 0
    while heap and -heap[0][0] >= MIN_GAIN:
        gain, i = -heap[0][0], heap[0][1]
        depths[i] += 1
        rows += 1
        tokens += gain
        following = -gain * rates[i] if depths[i] < limits[i] else 0.0
        heapreplace(heap, (following, i))
        if (time := step_ns(rows)) > budget_ns:
            break
        if tokens / time > best:
            best, best_depths = tokens / time, list(depths)
    return best_depths
