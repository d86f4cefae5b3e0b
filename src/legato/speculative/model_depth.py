"""How deep to draft where each drafted token costs time of its own: pure functions."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as List
from heapq import heapify, heappop, heapreplace

from legato.speculative.depth import MARGIN, MIN_GAIN

LevelTime = Callable[[int, int], float]
"""Nanoseconds of the draft step for the i-th token (from 0 on) of that many sequences."""


def choose_model_depths(
    gains: List[List[float]],
    *,
    decodes: int,
    verify_ns: Callable[[int], float],
    level_ns: LevelTime,
    limit_ns: float,
    max_rows: int,
) -> list[int]:
    """Drafted tokens for each sequence, so that expected tokens per predicted second are most.

    As `depth.choose_depths`, with the time of drafting: one more token for a sequence widens the
    step that verifies, and widens or adds a draft step.

    Args:
        gains: expected tokens that the 1st, 2nd … drafted token of each sequence adds.
        decodes: sequences that decode in the step, with or without a draft.
        verify_ns: predicted time of the step with that many drafted rows added.
        level_ns: predicted time of a draft step.
        limit_ns: the time that deadlines leave for drafting and the step.
        max_rows: most drafted rows in all.
    """
    depths, widths = [0] * len(gains), [0] * max(map(len, gains), default=0)
    heap = [(-own[0], i) for i, own in enumerate(gains) if own]
    heapify(heap)
    tokens, drafting_ns = float(decodes), 0.0
    best, best_depths = MARGIN * tokens / max(1.0, verify_ns(0)), list(depths)
    while heap and sum(depths) < max_rows and -heap[0][0] >= MIN_GAIN:
        gain, i = -heap[0][0], heap[0][1]
        level = depths[i]
        drafting_ns += _widening_ns(level_ns, level, widths[level])
        widths[level] += 1
        depths[i] += 1
        tokens += gain
        if depths[i] < len(gains[i]):
            heapreplace(heap, (-gains[i][depths[i]], i))
        else:
            heappop(heap)
        time = drafting_ns + max(1.0, verify_ns(sum(depths)))
        if time > limit_ns:
            break
        if tokens / time > best:
            best, best_depths = tokens / time, list(depths)
    return best_depths


def net_gain(gains: List[float], token_ns: float, draft_ns: float) -> float:
    """The most tokens that drafting for one sequence adds to a step, less what could be had in the
    time it takes: `draft_ns` a drafted token where a token takes `token_ns` without drafts."""
    best = total = 0.0
    for count, gain in enumerate(gains, 1):
        total += gain
        best = max(best, total - count * draft_ns / token_ns)
    return best


def _widening_ns(level_ns: LevelTime, level: int, width: int) -> float:
    """What one sequence more adds to a draft step of `width` sequences, which may be none."""
    wider = level_ns(level, width + 1)
    return wider - level_ns(level, width) if width else wider
