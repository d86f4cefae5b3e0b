"""How deep to draft: as many tokens as pay, over the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heapreplace

MIN_GAIN = 0.02
"""A drafted token that adds less than this is not worth its bookkeeping."""

MARGIN = 1.03
"""Predicted tokens per second must grow by this much for drafts to be worth the risk."""

_PROBES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 24, 31, 32, 48, 64, 96, 128, 192, 256)
"""Numbers of drafted rows at which it is asked what a row costs."""


def least_gain(decodes: int, step_ns: Callable[[int], float], max_rows: int) -> float:
    """What a drafted row must add to the tokens of a step for any number of them to pay.

    Where rows share their cost, many may pay and one not: the cheapest number counts. It is
    above 1 where no draft pays, however good; infinite without a row to spare.

    Args:
        decodes: sequences that decode in the step.
        step_ns: predicted time of the step with that many drafted rows added.
        max_rows: most drafted rows in all.
    """
    alone_ns = step_ns(0)
    return min(
        (
            (MARGIN * step_ns(rows) / alone_ns - 1) * decodes / rows
            for rows in _PROBES
            if rows <= max_rows
        ),
        default=float("inf"),
    )


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
    if len(gains) == 1:
        return [_choose_depth(gains[0], step_ns, limit_ns, max_rows)]
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


def _choose_depth(
    gains: Sequence[float], step_ns: Callable[[int], float], limit_ns: float, max_rows: int
) -> int:
    """`choose_depths` of one sequence."""
    depth, tokens, best = 0, 1.0, 0.0
    for rows, gain in enumerate(gains[:max_rows], 1):
        if gain < MIN_GAIN:
            break
        best = best or MARGIN / step_ns(0)
        tokens += gain
        if (time := step_ns(rows)) > limit_ns:
            break
        if tokens / time > best:
            depth, best = rows, tokens / time
    return depth
