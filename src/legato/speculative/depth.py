"""How deep to draft: as many tokens as pay, over the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heapreplace
from math import inf, sqrt

MAX_DEPTH = 16
"""Most tokens that are drafted for one sequence where the depth is chosen by prediction."""

MOST_ROWS = 256
"""Most tokens that are drafted for all sequences together."""

MIN_GAIN = 0.02
"""A drafted token that adds less than this is not worth its bookkeeping."""

MARGIN = 1.03
"""Predicted tokens per second must grow by this much for drafts to be worth the risk."""

MARGIN_BESIDE = 1.06
"""The same where more than two decode: looking takes longer, and others wait."""

STRETCH = 0.5
"""By this part of its time drafts may lengthen a step of two sequences."""


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
        return inf
    return (1 + STRETCH * sqrt(2 / decodes)) * decode_ns


def row_times(decodes: int, step_ns: Callable[[int], float], max_rows: int) -> list[float]:
    """What a step of `decodes` sequences takes with 0, 1, 2 … drafted rows, in nanoseconds; as far
    as it may be lengthened.

    Args:
        step_ns: predicted time of the step with that many drafted rows added.
        max_rows: most drafted rows that there is room for.
    """
    times = [step_ns(0)]
    limit_ns = longest_ns(decodes, times[0])
    for rows in range(1, min(max_rows, decodes * MAX_DEPTH, MOST_ROWS) + 1):
        time_ns = step_ns(rows)
        if time_ns > limit_ns:
            break
        times.append(time_ns)
    return times


def least_gain(decodes: int, times: Sequence[float]) -> float:
    """What a drafted row must add to the tokens of a step for any number of them to pay.

    Where rows share their cost, many may pay and one not: the cheapest number counts. It is above 1
    where no draft pays, however good; infinite without a row to spare. `times`: see `row_times`.
    """
    least, alone_ns = margin(decodes), times[0]
    found = inf
    for rows, time_ns in enumerate(times[1:], 1):
        found = min(found, (least * time_ns / alone_ns - 1) * decodes / rows)
    return found


def choose_depths(
    gains: Sequence[Sequence[float]],
    decodes: int,
    times: Sequence[float],
    least_margin: float = 1.0,
    limit_ns: float = inf,
) -> list[int]:
    """Drafted tokens for each text, so that expected tokens per predicted second are most.

    Drafted tokens join in order of gain; of all prefixes of that order the best is taken. That is
    optimal where gains of a text never rise, and never worse than no drafts by the prediction.

    Args:
        gains: expected tokens that the 1st, 2nd … drafted token of each text adds.
        decodes: sequences that decode in the step, those without a draft included.
        times: see `row_times`; no more rows are drafted than it tells of.
        least_margin: by how much the tokens a second must grow.
        limit_ns: the time that deadlines leave for the step; a longer one is not chosen.
    """
    depths = [0] * len(gains)
    heap = [(-own[0], i) for i, own in enumerate(gains) if own]
    heapify(heap)
    tokens, best_depths = float(decodes), list(depths)
    best = least_margin * tokens / times[0]
    for time_ns in times[1:]:
        if not heap or time_ns > limit_ns or -heap[0][0] < MIN_GAIN:
            break
        gain, i = -heap[0][0], heap[0][1]
        depths[i] += 1
        tokens += gain
        if depths[i] < len(gains[i]):
            heapreplace(heap, (-gains[i][depths[i]], i))
        else:
            heappop(heap)
        if tokens / time_ns > best:
            best, best_depths = tokens / time_ns, list(depths)
    return best_depths
