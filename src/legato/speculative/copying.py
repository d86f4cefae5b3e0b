"""Continuing a text as an earlier passage went on."""

from __future__ import annotations

from collections.abc import Sequence


def copied(text: Sequence[int], end: int, count: int) -> list[int]:
    """`count` tokens that follow place `end` of `text`.

    Where the copy reaches the end of the text it goes on with what it copied itself, so that a
    period repeats.
    """
    found = list(text[end + 1 : end + 1 + count])
    period = len(text) - 1 - end
    while len(found) < count:
        found.append(found[len(found) - period])
    return found


def match_class(length: int) -> int:
    """The confidence class of a match of `length` tokens: 1, 2, 3–4, 5–8, 9–16 and longer."""
    return min((length - 1).bit_length(), 5) if length else 0
