"""Suffix automaton of a growing text: the longest suffix that occurred before, in O(1) a token.

Blumer et al. 1985, "The smallest automaton recognizing the subwords of a text"; for drafting, Hu et
al. 2024, "SAM Decoding" (arXiv 2411.10666).
"""

from __future__ import annotations

from collections.abc import Iterable

ROOT = 0


class SuffixAutomaton:
    """Recognises every substring of a text; at most 2n states for n tokens.

    A state stands for substrings that end at the same places. `length` is that of its longest
    substring, `link` the state of the longest suffix that ends at more places, `end` the place
    of one occurrence's last token, of the newest one known.
    """

    def __init__(self) -> None:
        self.text: list[int] = []
        self._next: list[dict[int, int]] = [{}]
        self._link = [-1]
        self._length = [0]
        self._end = [-1]
        self._last = ROOT

    def extend(self, tokens: Iterable[int]) -> None:
        """Append `tokens` to the text."""
        for token in tokens:
            self._append(token)

    def repeated_suffix(self) -> tuple[int, int]:
        """(length, end): the longest suffix of the text that occurs earlier too, and where such an
        occurrence ends. (0, -1) without one."""
        state = self._link[self._last]
        return (self._length[state], self._end[state]) if state > ROOT else (0, -1)

    def follow(self, state: int, length: int, token: int) -> tuple[int, int]:
        """From a match of `length` tokens in `state` to the longest match that ends with `token`.

        Start at (ROOT, 0); the text may be another one. A match of length 0 is in ROOT.
        """
        while state != ROOT and token not in self._next[state]:
            state = self._link[state]
            length = self._length[state]
        following = self._next[state].get(token)
        return (ROOT, 0) if following is None else (following, length + 1)

    def end_of(self, state: int) -> int:
        """Place of the last token of one occurrence of the substrings of `state`."""
        return self._end[state]

    def _append(self, token: int) -> None:
        place = len(self.text)
        self._note_recent(place - 1)
        new = self._add_state({}, self._length[self._last] + 1, place)
        state = self._last
        while state != -1 and token not in self._next[state]:
            self._next[state][token] = new
            state = self._link[state]
        self._link[new] = ROOT if state == -1 else self._target(state, token)
        self._last = new
        self.text.append(token)

    def _target(self, state: int, token: int) -> int:
        """The state of the longest substring of `state` and `token`, split off if needed."""
        target = self._next[state][token]
        length = self._length[state] + 1
        if self._length[target] == length:
            return target
        clone = self._add_state(dict(self._next[target]), length, self._end[target])
        self._link[clone] = self._link[target]
        self._link[target] = clone
        while state != -1 and self._next[state].get(token) == target:
            self._next[state][token] = clone
            state = self._link[state]
        return clone

    def _note_recent(self, place: int) -> None:
        """The repeated suffix has its newest occurrence at `place`, now that it is the past."""
        state = self._link[self._last]
        if state > ROOT:
            self._end[state] = place

    def _add_state(self, following: dict[int, int], length: int, end: int) -> int:
        self._next.append(following)
        self._link.append(ROOT)
        self._length.append(length)
        self._end.append(end)
        return len(self._next) - 1
