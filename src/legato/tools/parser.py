"""Calls in a model's text, read as it comes: each character is looked at once.

No text is lost: what turns out not to be a call is given out as text. White space between calls
and text is not kept.
"""

from __future__ import annotations

from collections.abc import Callable

from legato.text.stop import StopMatcher
from legato.tools.dialect import Dialect
from legato.tools.parts import Output, Part
from legato.tools.scanner import CallScanner, Scan


class JsonParser:
    """Calls as JSON objects: behind a marker anywhere, or bare where the answer begins."""

    def __init__(
        self,
        dialect: Dialect,
        names: frozenset[str],
        most_calls: int | None = None,
        *,
        bare: bool = True,
    ) -> None:
        """Read one answer.

        Args:
            dialect: how calls are written; a JSON one.
            names: the functions; an object that names none of them is text.
            most_calls: objects after so many calls are text.
            bare: calls may begin the answer without a marker.
        """
        self._names = names
        self._most_calls = most_calls
        self._opens = StopMatcher(dialect.opens) if dialect.opens else None
        self._num_opens = len(dialect.opens)
        self._closes = dialect.closes
        self._output = Output()
        self._step: Callable[[str], bool] = self._at_start if bare else self._in_text
        self._scanner = CallScanner(names)
        self._held: list[str] = []  # may be text after all
        self._in_call = False  # the scanner is in what surely is a call
        self._in_list = False
        self._num_closed = 0  # characters of `closes` just seen

    @property
    def num_calls(self) -> int:
        """Calls up to now."""
        return self._output.num_calls

    def push(self, text: str) -> list[Part]:
        """What became certain with more text."""
        for char in text:
            self._take(char)
        if self._in_call:
            self._output.arguments(self._scanner.take())
        return self._output.take()

    def finish(self) -> list[Part]:
        """What was held back, once nothing follows."""
        rest = "".join(self._held)
        is_markup = self.num_calls and self._closes.startswith(rest.lstrip())
        if not is_markup:
            self._output.text(rest)
        self._held.clear()
        self._output.end()
        return self._output.take()

    def _take(self, char: str) -> None:
        if self._in_call:
            self._scan(char)
            return
        self._held.append(char)
        if self._opens is not None and self._opens.advance(char):
            self._open_markup(self._opens)
        elif not self._step(char):
            self._step = self._in_text
            self._in_text(char)

    def _open_markup(self, opens: StopMatcher) -> None:
        opens.matched = 0
        marker = self._held[-self._num_opens :]
        del self._held[-self._num_opens :]
        self._output.text("".join(self._held))
        self._held = marker
        self._in_list = False
        self._step = self._between

    def _in_text(self, char: str) -> bool:
        """Give out what cannot be the beginning of a marker."""
        num_free = len(self._held) - (0 if self._opens is None else self._opens.matched)
        self._output.text("".join(self._held[:num_free]))
        del self._held[:num_free]
        return True

    def _at_start(self, char: str) -> bool:
        """White space, a bare call or list of calls; False where it is text."""
        if char.isspace():
            return self._in_text(char)
        self._step = self._between
        return char in "{[" and self._between(char)

    def _between(self, char: str) -> bool:
        """Around calls; False where text has begun."""
        if self._num_closed or (char == self._closes[:1] and self.num_calls):
            return self._in_closes(char)
        if char == "{" and self.num_calls != self._most_calls:
            self._scanner = CallScanner(self._names)
            self._step = self._scan
            return self._scan(char)
        if char == "[" and not self._in_list:
            self._in_list = True
            return True
        if char == "]" and self._in_list and self.num_calls:
            self._in_list = False
            self._held.clear()
            return True
        return char.isspace() or (char in ",;" and self.num_calls > 0)

    def _in_closes(self, char: str) -> bool:
        matches = char == self._closes[self._num_closed]
        self._num_closed = self._num_closed + 1 if matches else 0
        if self._num_closed == len(self._closes):
            self._num_closed = 0
            self._held.clear()
            self._step = self._in_text
        return matches

    def _scan(self, char: str) -> bool:
        result = self._scanner.feed(char)
        if self._scanner.is_call and not self._in_call and result is not Scan.FAILED:
            self._begin_call(str(self._scanner.name))
        if result is Scan.MORE:
            return True
        if not self._in_call:
            return False
        self._in_call = False
        self._output.arguments(self._scanner.take())
        self._step = self._between
        if result is Scan.FAILED:  # the call stands; what follows its arguments is text
            self._step = self._in_text
            self._take(char)
        return True

    def _begin_call(self, name: str) -> None:
        self._in_call = True
        self._held.clear()
        self._num_closed = 0
        if self._opens is not None:
            self._opens.matched = 0
        self._output.begin(name)
