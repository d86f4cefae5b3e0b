"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby


def format_quantity(value: float) -> str:
    """Three digits and a decimal prefix: 134515008 → "135 M"."""
    for prefix in ("", "k", "M", "G"):
        if value < 999.5:  # above, three digits would round to 1e+03
            return f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:.3g} T"


def format_bytes(value: float) -> str:
    """As `format_quantity`, in bytes: 98_304 → "98.3 kB"."""
    return format_quantity(value) + "B"


def format_ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as ranges: 0, 1, 2, 5 → "0..2, 5"."""
    runs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    spans = [[number for _, number in run] for _, run in runs]
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}..{s[-1]}" for s in spans)
