"""How deep to draft: as many tokens as pay, over the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heapreplace

MIN_GAIN = 0.02
"""A drafted token that adds less than this is not worth its bookkeeping."""

MARGIN = 1.02
"""Predicted tokens per second must grow by this much for drafts to be worth the risk."""


def choose_depths(
    gains: Sequence[Sequence[float]],
    step_ns: Callable[[int], float],
    limit_ns: float,
    max_rows: int,
) -> list[int]:
    """Drafted tokens for each sequence, so that expected tokens per predicted second are most.

    Drafted tokens join in order of gain; of all prefixes of that order the best is taken. That is
    optimal where gains of a sequence never rise, and never worse than no drafts by the prediction.

    Args:
        gains: expected tokens that the 1st, 2nd … drafted token of each sequence adds.
        step_ns: predicted time of the step with that many drafted rows added.
        limit_ns: the time that deadlines leave for the step; a longer one is not chosen.
        max_rows: most drafted rows in all.
    """
    depths = [0] * len(gains)
    heap = [(-own[0], i) for i, own in enumerate(gains) if own]
    heapify(heap)
    tokens, rows = float(len(gains)), 0
    best, best_depths = MARGIN * tokens / step_ns(0) if heap else 0.0, list(depths)
    while heap and rows < max_rows and -heap[0][0] >= MIN_GAIN:
        gain, i = -heap[0][0], heap[0][1]
        depths[i] += 1
        rows += 1
        tokens += gain
        if depths[i] < len(gains[i]):
            heapreplace(heap, (-gains[i][depths[i]], i))
        else:
            heappop(heap)
        if (time := step_ns(rows)) > limit_ns:
            break
        if tokens / time > best:
            best, best_depths = tokens / time, list(depths)
    return best_depths
