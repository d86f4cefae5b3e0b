"""Stop strings found in text that comes piece by piece."""

from __future__ import annotations

from collections.abc import Iterable

from legato.errors import InvalidRequestError


class StopMatcher:
    """Knuth-Morris-Pratt over one stop string, one character at a time, linear in the text."""

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self._fallback = _fallbacks(stop)
        self.matched = 0
        """Length of the longest end of the text so far that begins the stop string."""

    def advance(self, char: str) -> bool:
        """Take one more character; whether the stop string is complete now."""
        while self.matched and self._stop[self.matched] != char:
            self.matched = self._fallback[self.matched]
        if self._stop[self.matched] == char:
            self.matched += 1
        return self.matched == len(self._stop)


class StopFilter:
    """Passes text on, except what might be the start of a stop string, and ends at one.

    The stop string that is complete first wins, and of those complete at the same character the
    longest. So the result does not depend on how the text was cut into pieces.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._matchers = [StopMatcher(_checked(stop)) for stop in stops]
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Text that is certain to come before any stop string."""
        if self.stopped or not self._matchers:
            return "" if self.stopped else text
        text = self._held + text
        for position in range(len(self._held), len(text)):
            complete = [m.matched for m in self._matchers if m.advance(text[position])]
            if complete:
                self.stopped, self._held = True, ""
                return text[: position + 1 - max(complete)]
        free = len(text) - max(matcher.matched for matcher in self._matchers)
        self._held = text[free:]
        return text[:free]

    def finish(self) -> str:
        """The text that was held back, once it is known that nothing follows."""
        held, self._held = self._held, ""
        return held


def _checked(stop: str) -> str:
    if not stop:
        raise InvalidRequestError("a stop string is empty; leave it out instead", param="stop")
    return stop


def _fallbacks(stop: str) -> list[int]:
    """For each matched length, the next shorter one that the same end of text also matches."""
    fallbacks = [0, 0]
    length = 0
    for char in stop[1:]:
        while length and stop[length] != char:
            length = fallbacks[length]
        length += stop[length] == char
        fallbacks.append(length)
    return fallbacks
