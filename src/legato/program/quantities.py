"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby


def format_quantity(value: float) -> str:
    """Three digits and a decimal prefix: 134515008 → "135 M"."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}" if value < 1000 * factor else f"{value:.3g} "
    return f"{value:.3g} "


def format_bytes(value: float) -> str:
    """As `format_quantity`, in bytes: 98_304 → "98.3 kB"."""
    return format_quantity(value) + "B"


def format_ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as ranges: 0, 1, 2, 5 → "0..2, 5"."""
    runs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    spans = [[number for _, number in run] for _, run in runs]
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}..{s[-1]}" for s in spans)
