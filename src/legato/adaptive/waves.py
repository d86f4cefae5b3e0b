"""How many samples to draw at once."""

from __future__ import annotations

from collections.abc import Callable

NEARLY_FREE = 0.1
"""Rows are nearly free as long as all together lengthen a step by at most this share."""


def wave_size(fewest: int, most: int, fill: int) -> int:
    """The fewest samples with which the rule could stop, filled up to `fill` rows that cost a step
    nearly nothing more; at most `most`, at least 1 where `most` is."""
    return min(most, max(1, fewest, fill))


def free_rows(step_ns: Callable[[int], float], most: int) -> int:
    """Rows of a step that cost nearly as much as one: at least 1, at most `most` ≥ 1.

    `step_ns` gives the time of a step of that many decodes and never falls.
    """
    limit = (1 + NEARLY_FREE) * step_ns(1)
    rows = 1
    while rows < most and step_ns(rows + 1) <= limit:
        rows += 1
    return rows
