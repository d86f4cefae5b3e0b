"""One call as a JSON object, read character by character."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum, auto

_SPACE = " \t\r\n"
_NULL = "null"
_ARGUMENTS = frozenset({"arguments", "parameters"})
_IGNORED = frozenset({"type", "id"})


class Scan(Enum):
    """What a character did. One that FAILED was not taken."""

    MORE = auto()
    DONE = auto()
    FAILED = auto()


class CallScanner:
    """Reads ``{"name": …, "arguments": …}``; members in any order, each at most once.

    Attributes:
        name: the function, once it is known.
        has_arguments: the arguments have begun, so that the object surely is a call.
    """

    def __init__(self, names: frozenset[str]) -> None:
        """`names`: functions that can be called; an object with another name is no call."""
        self._names = names
        self._step: Callable[[str], Scan] = self._open
        self._key = ""
        self._text: list[str] = []
        self._arguments: list[str] = []
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self.name: str | None = None
        self.has_arguments = False

    @property
    def is_call(self) -> bool:
        """Whether name and arguments have come."""
        return self.name is not None and self.has_arguments

    def feed(self, char: str) -> Scan:
        """Take one more character."""
        return self._step(char)

    def take(self) -> str:
        """The text of arguments that came since the last call."""
        text = "".join(self._arguments)
        self._arguments.clear()
        return text

    def _go(self, step: Callable[[str], Scan]) -> Scan:
        self._step = step
        return Scan.MORE

    def _open(self, char: str) -> Scan:
        return self._go(self._before_key) if char == "{" else Scan.FAILED

    def _before_key(self, char: str) -> Scan:
        if char in _SPACE:
            return Scan.MORE
        if char == '"':
            return self._begin_text(self._in_key)
        return self._end() if char == "}" else Scan.FAILED

    def _in_key(self, char: str) -> Scan:
        if not self._text_ends(char):
            return Scan.MORE
        key = self._decoded()
        if key is None:
            return Scan.FAILED
        self._key = key
        return self._go(self._colon)

    def _colon(self, char: str) -> Scan:
        if char == ":":
            return self._go(self._before_value)
        return Scan.MORE if char in _SPACE else Scan.FAILED

    def _before_value(self, char: str) -> Scan:
        if char in _SPACE:
            return Scan.MORE
        if self._key in _ARGUMENTS and not self.has_arguments:
            return self._begin_arguments(char)
        if char == '"' and self._key == "name" and self.name is None:
            return self._begin_text(self._in_name)
        if char == '"' and self._key in _IGNORED:
            return self._begin_text(self._in_ignored)
        return Scan.FAILED

    def _in_name(self, char: str) -> Scan:
        if not self._text_ends(char):
            return Scan.MORE
        name = self._decoded()
        if name not in self._names:
            return Scan.FAILED
        self.name = name
        return self._go(self._after_value)

    def _in_ignored(self, char: str) -> Scan:
        return self._go(self._after_value) if self._text_ends(char) else Scan.MORE

    def _begin_arguments(self, char: str) -> Scan:
        if char == "{":
            self.has_arguments = True
            self._arguments.append(char)
            self._depth = 1
            return self._go(self._in_arguments)
        if char == '"':
            return self._begin_text(self._in_quoted)
        if char == "n":
            self._text = [char]
            return self._go(self._in_null)
        return Scan.FAILED

    def _in_arguments(self, char: str) -> Scan:
        self._arguments.append(char)
        if self._quoted:
            self._quoted = self._escaped or char != '"'
            self._escaped = char == "\\" and not self._escaped
        elif char == '"':
            self._quoted = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
        return Scan.MORE if self._depth else self._go(self._after_value)

    def _in_quoted(self, char: str) -> Scan:
        """Arguments written as a text that holds JSON."""
        if not self._text_ends(char):
            return Scan.MORE
        arguments = self._decoded()
        if arguments is None:
            return Scan.FAILED
        return self._set_arguments(arguments.strip() or "{}")

    def _in_null(self, char: str) -> Scan:
        self._text.append(char)
        text = "".join(self._text)
        if text == _NULL:
            return self._set_arguments("{}")
        if _NULL.startswith(text):
            return Scan.MORE
        self._text.pop()
        return Scan.FAILED

    def _set_arguments(self, arguments: str) -> Scan:
        self.has_arguments = True
        self._arguments.append(arguments)
        return self._go(self._after_value)

    def _after_value(self, char: str) -> Scan:
        if char == ",":
            return self._go(self._before_key)
        if char == "}":
            return self._end()
        return Scan.MORE if char in _SPACE else Scan.FAILED

    def _end(self) -> Scan:
        if self.name is None:
            return Scan.FAILED
        if not self.has_arguments:
            self._set_arguments("{}")
        return Scan.DONE

    def _begin_text(self, step: Callable[[str], Scan]) -> Scan:
        self._text.clear()
        self._escaped = False
        return self._go(step)

    def _text_ends(self, char: str) -> bool:
        """Collect a JSON text; whether `char` is its closing quote."""
        if char == '"' and not self._escaped:
            return True
        self._escaped = char == "\\" and not self._escaped
        self._text.append(char)
        return False

    def _decoded(self) -> str | None:
        try:
            text: str = json.loads(f'"{"".join(self._text)}"', strict=False)
            text.encode()
        except ValueError:
            return None
        return text
