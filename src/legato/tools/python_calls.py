"""A list of Python calls with literal arguments, read as data in linear time."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

MAX_DEPTH = 32
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
  | (?P<number> -?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)? )
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<mark> [][(){}:,=] )
    )\s*""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "null": None,
}
Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]


def read_calls(text: str) -> list[tuple[str, str]]:
    """(name, arguments as JSON) of every call in ``[f(a=1), g()]``.

    Raises ValueError where `text` is anything else; nothing in it is ever run.
    """
    reader = _Reader(text)
    calls = list(reader.calls())
    reader.end()
    return calls


class _Reader:
    """Takes one token after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._next()

    def calls(self) -> Iterator[tuple[str, str]]:
        """The calls of a list that is not empty."""
        self._expect("[")
        while True:
            name = self._word()
            self._expect("(")
            arguments = dict(self._arguments())
            yield name, json.dumps(arguments, ensure_ascii=False, allow_nan=False)
            if not self._take(","):
                break
        self._expect("]")

    def end(self) -> None:
        """Nothing may follow."""
        if self._kind is not None:
            raise ValueError("text after the calls")

    def _arguments(self) -> Iterator[tuple[str, Value]]:
        while not self._take(")"):
            name = self._word()
            self._expect("=")
            yield name, self._value(MAX_DEPTH)
            self._separate(")")

    def _value(self, depth: int) -> Value:
        if depth == 0:
            raise ValueError("too deep")
        if self._take("["):
            return list(self._items(depth))
        if self._take("{"):
            return dict(self._members(depth))
        kind, token = self._kind, self._token
        self._next()
        if kind == "text":
            return _text(token)
        if kind == "number":
            return int(token) if token.removeprefix("-").isdigit() else float(token)
        if kind == "word" and token in _CONSTANTS:
            return _CONSTANTS[token]
        raise ValueError("not a literal")

    def _items(self, depth: int) -> Iterator[Value]:
        while not self._take("]"):
            yield self._value(depth - 1)
            self._separate("]")

    def _members(self, depth: int) -> Iterator[tuple[str, Value]]:
        while not self._take("}"):
            if self._kind != "text":
                raise ValueError("a key is a text")
            key = _text(self._token)
            self._next()
            self._expect(":")
            yield key, self._value(depth - 1)
            self._separate("}")

    def _separate(self, end: str) -> None:
        if not self._take(",") and self._token != end:
            raise ValueError("no comma")

    def _word(self) -> str:
        if self._kind != "word":
            raise ValueError("not a name")
        word = self._token
        self._next()
        return word

    def _take(self, mark: str) -> bool:
        if self._kind != "mark" or self._token != mark:
            return False
        self._next()
        return True

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise ValueError(f"no {mark}")

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._place)
        if found is None and self._place < len(self._text):
            raise ValueError("not a token")
        self._kind = found.lastgroup if found else None
        self._token = found[found.lastgroup] if found and found.lastgroup else ""
        self._place = found.end() if found else self._place


def _text(token: str) -> str:
    """The value of a quoted text with Python's escapes."""
    try:
        text: str = ast.literal_eval(token.replace("\n", "\\n").replace("\r", "\\r"))
        text.encode()
    except SyntaxError:
        raise ValueError("not a text") from None
    return text
