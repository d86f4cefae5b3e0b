"""Hash chains over a growing text: where its end occurred before, cheaply enough for every token.

As in LZ77 compressors (Deutsch 1996, RFC 1951, section 4): each place knows the newest earlier one
with the same two last tokens; of the newest few the one with the longest match is taken.
"""

from __future__ import annotations

from collections.abc import Iterable

MOST_PLACES = 8
"""Earlier places that are compared."""

LONGEST = 32
"""Tokens that are compared at each."""


class HashChains:
    """The places of all pairs of tokens of one text."""

    def __init__(self) -> None:
        self.text: list[int] = []
        self._earlier: list[int] = []  # by place: the newest earlier one of the same pair, or -1
        self._pairs: dict[int, int] = {}
        self._singles: dict[int, int] = {}
        self._single = -1

    def extend(self, tokens: Iterable[int]) -> None:
        """Append `tokens` to the text."""
        text, earlier, pairs, singles = self.text, self._earlier, self._pairs, self._singles
        last = text[-1] if text else -1
        place = len(text)
        for token in tokens:
            pair = last << 32 | token
            earlier.append(pairs.get(pair, -1))
            pairs[pair] = place
            self._single = singles.get(token, -1)
            singles[token] = place
            last = token
            place += 1
            text.append(token)

    def longest(self) -> tuple[int, int]:
        """(length, end): a match of the end of the text with an earlier passage and where that
        ends; the longest of the newest. (0, -1) without one."""
        place = self._earlier[-1] if self.text else -1
        if place < 0:
            return (1, self._single) if self._single >= 0 else (0, -1)
        found, end = 2, place
        for _ in range(MOST_PLACES):
            length = self._match(place)
            if length > found:
                found, end = length, place
            place = self._earlier[place]
            if place < 0 or found >= LONGEST:
                break
        return found, end

    def newest(self, before: int, token: int) -> tuple[int, int]:
        """(length, end) of the newest pair `before`, `token`, or of `token` alone; length 0 and
        −1 where neither occurs."""
        end = self._pairs.get(before << 32 | token, -1)
        if end >= 0:
            return 2, end
        end = self._singles.get(token, -1)
        return (1, end) if end >= 0 else (0, -1)

    def _match(self, end: int) -> int:
        """How many tokens up to place `end` equal those at the end of the text."""
        text, last = self.text, len(self.text) - 1
        most = min(LONGEST, end + 1)
        length = 2
        while length < most and text[end - length] == text[last - length]:
            length += 1
        return length
