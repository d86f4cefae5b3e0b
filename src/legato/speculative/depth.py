"""How deep to draft: as many tokens as pay, over the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heapreplace
from math import sqrt

MIN_GAIN = 0.02
"""A drafted token that adds less than this is not worth its bookkeeping."""

MARGIN = 1.03
"""Predicted tokens per second must grow by this much for drafts to be worth the risk."""

MARGIN_BESIDE = 1.06
"""The same where more than two decode: looking takes longer, and others wait."""

STRETCH = 0.5
"""By this part of its time drafts may lengthen a step of two sequences."""

_PROBES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 24, 31, 32, 48, 64, 96, 128, 192, 256)
"""Numbers of drafted rows at which it is asked what a row costs."""


def margin(decodes: int) -> float:
    """By how much drafts must pay in a step of `decodes` sequences."""
    return MARGIN if decodes <= 2 else MARGIN_BESIDE


def longest_ns(decodes: int, decode_ns: float) -> float:
    """How long drafts may make a step of `decodes` sequences, which takes `decode_ns` without.

    Who has no draft, or a wrong one, gets its next token no sooner for it. So they lengthen the
    step by at most `STRETCH`, and by less where more wait: with the root of their number, the
    long steps of a crowd, which the tail of the times between tokens is made of, get no longer
    (`benchmarks/simulated_speculation.py`). A sequence alone waits for nobody's draft but its own.
    """
    if decodes == 1:
        return float("inf")
    return (1 + STRETCH * sqrt(2 / decodes)) * decode_ns


def least_gain(decodes: int, step_ns: Callable[[int], float], max_rows: int) -> float:
    """What a drafted row must add to the tokens of a step for any number of them to pay.

    Where rows share their cost, many may pay and one not: the cheapest number counts, of those
    with which the step is not too long. It is above 1 where no draft pays, however good; infinite
    without a row to spare.

    Args:
        decodes: sequences that decode in the step.
        step_ns: predicted time of the step with that many drafted rows added.
        max_rows: most drafted rows in all.
    """
    alone_ns, least = step_ns(0), margin(decodes)
    limit_ns = longest_ns(decodes, alone_ns)
    found = float("inf")
    for rows in _PROBES:
        if rows > max_rows or (time_ns := step_ns(rows)) > limit_ns:
            break
        found = min(found, (least * time_ns / alone_ns - 1) * decodes / rows)
    return found


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
    best_depths = list(depths)
    best = margin(len(gains)) * tokens / step_ns(0) if heap else 0.0
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
