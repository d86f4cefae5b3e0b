"""What an answer with calls consists of, and how its parts are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text that belongs to no call."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegin:
    """Call number `index` of this answer calls `name`."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the arguments of call number `index`, JSON text."""

    index: int
    text: str


Part = TextPart | CallBegin | CallArguments


class ToolParser(Protocol):
    """Reads one answer."""

    @property
    def num_calls(self) -> int:
        """Calls up to now."""
        ...

    def push(self, text: str) -> list[Part]:
        """What became certain with more text."""
        ...

    def finish(self) -> list[Part]:
        """What was held back, once nothing follows."""
        ...


class Output:
    """Parts in the making: joins text, and drops white space around calls."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._space: list[str] = []
        self._after_call = False
        self.num_calls = 0

    def text(self, text: str) -> None:
        """Add text; white space at its end waits for what follows."""
        kept = text.rstrip()
        if kept:
            before = "" if self._after_call else "".join(self._space)
            self._parts.append(TextPart(before + (kept.lstrip() if self._after_call else kept)))
            self._space.clear()
            self._after_call = False
        self._space.append(text[len(kept) :])

    def begin(self, name: str) -> None:
        """Begin a call."""
        self._space.clear()
        self._after_call = True
        self._parts.append(CallBegin(self.num_calls, name))
        self.num_calls += 1

    def arguments(self, text: str) -> None:
        """Continue the newest call."""
        if text:
            self._parts.append(CallArguments(self.num_calls - 1, text))

    def end(self) -> None:
        """Nothing follows: white space at the end of a text is a part of it."""
        space = "".join(self._space)
        if space and not self._after_call:
            self._parts.append(TextPart(space))
        self._space.clear()

    def take(self) -> list[Part]:
        """The parts since the last time, neighbouring texts joined."""
        parts, self._parts = self._parts, []
        return list(_joined(parts))


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    for kind, group in groupby(parts, type):
        if kind is TextPart:
            yield TextPart("".join(part.text for part in group if isinstance(part, TextPart)))
        else:
            yield from group
