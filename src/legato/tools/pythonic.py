"""Calls as a Python list, ``[f(a=1), g(b="x")]``: read as data, never run."""

from __future__ import annotations

from legato.tools.parts import Output, Part
from legato.tools.python_calls import read_calls

MAX_CALLS_TEXT = 65_536
"""Longest list in characters; a longer one is text."""


class PythonicParser:
    """The list must begin the answer. It is read when it is complete; the rest is text."""

    def __init__(self, names: frozenset[str], most_calls: int | None) -> None:
        """`names`: the functions; a list with any other call is text."""
        self._names = names
        self._most_calls = most_calls
        self._output = Output()
        self._held: list[str] = []
        self._quote = ""
        self._escaped = False
        self._depth = 0
        self._is_text = False

    @property
    def num_calls(self) -> int:
        """Calls up to now."""
        return self._output.num_calls

    def push(self, text: str) -> list[Part]:
        """What became certain with more text."""
        for place, char in enumerate(text):
            if self._is_text:
                self._output.text(text[place:])
                break
            self._take(char)
        return self._output.take()

    def finish(self) -> list[Part]:
        """What was held back, once nothing follows."""
        self._give_back()
        self._output.end()
        return self._output.take()

    def _take(self, char: str) -> None:
        self._held.append(char)
        self._follow(char)
        if self._depth == 0 and char == "]":
            self._close()
        elif (self._depth == 0 and not char.isspace()) or len(self._held) > MAX_CALLS_TEXT:
            self._give_back()

    def _follow(self, char: str) -> None:
        """Keep count of brackets, outside of texts."""
        if self._quote:
            if char == self._quote and not self._escaped:
                self._quote = ""
            self._escaped = char == "\\" and not self._escaped
        elif char in "\"'" and self._depth:
            self._quote = char
        elif char in "[({" and (self._depth or char == "["):
            self._depth += 1
        elif char in "])}" and self._depth:
            self._depth -= 1

    def _close(self) -> None:
        calls = _calls("".join(self._held).strip(), self._names)
        if calls is None or (self._most_calls is not None and len(calls) > self._most_calls):
            self._give_back()
            return
        for name, arguments in calls:
            self._output.begin(name)
            self._output.arguments(arguments)
        self._held.clear()
        self._is_text = True

    def _give_back(self) -> None:
        self._output.text("".join(self._held))
        self._held.clear()
        self._is_text = True


def _calls(text: str, names: frozenset[str]) -> list[tuple[str, str]] | None:
    """(name, arguments as JSON) of each call in `text`; None where it is no list of calls."""
    try:
        calls = read_calls(text)
    except ValueError:
        return None
    return calls if all(name in names for name, _ in calls) else None
