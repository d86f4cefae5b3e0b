"""How much one rendering of a chat template may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from legato.clock import Clock
from legato.errors import InvalidRequestError

T = TypeVar("T")

MAX_TEXT = 4 << 20
"""Longest string, in characters, that a template may make; also the limit of its output."""
MAX_ITEMS = 1 << 20
"""Longest list that a template may make by repetition or addition."""
MAX_STEPS = 2_000_000
"""Loop rounds, calls, filters and outputs of one rendering."""
MAX_SECONDS = 5.0
"""Longest rendering; every single step is bounded, so this is kept closely."""
_CHARS_PER_STEP = 64
_ITEMS_PER_STEP = 2


class RenderBudget:
    """Counts the steps of one rendering and ends it when they, or the time, are spent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deadline = clock.now_ns() + int(MAX_SECONDS * 1e9)
        self._left = MAX_STEPS

    def spend(self, steps: int = 1) -> None:
        """Count `steps`; InvalidRequestError when the budget is spent."""
        self._left -= steps
        if self._left < 0 or self._clock.now_ns() > self._deadline:
            raise InvalidRequestError(
                "the chat template did too much work on these messages (at most "
                f"{MAX_STEPS:,} steps and {MAX_SECONDS:g} s); send fewer or shorter messages, "
                "or check the template for loops that hardly end",
                param="messages",
            )

    def charge(self, value: T) -> T:
        """Count a new value by its size, and give it back."""
        if isinstance(value, str):
            require_length(len(value))
            self.spend(1 + len(value) // _CHARS_PER_STEP)
        elif isinstance(value, list | tuple | dict):
            self._charge_tree(value)
        else:
            self.spend()
        return value

    def _charge_tree(self, root: object) -> None:
        """Count all that printing or comparing `root` would visit, shared parts each time."""
        pending: list[object] = [root]
        visited = 0
        while pending:
            value = pending.pop()
            visited += 1
            if visited % _ITEMS_PER_STEP == 0:
                self.spend()
            if isinstance(value, dict):
                pending.extend(value.values())
            elif isinstance(value, list | tuple):
                pending.extend(value)
        self.spend()

    def counted(self, values: Iterable[T]) -> Iterator[T]:
        """The same values, each counted as a step."""
        for value in values:
            self.spend()
            yield value


def require_length(num_chars: int) -> None:
    """InvalidRequestError where a template would make a longer string than it may."""
    if num_chars > MAX_TEXT:
        raise InvalidRequestError(
            f"the chat template would make a string of {num_chars:,} characters, more than the "
            f"{MAX_TEXT:,} allowed; send shorter messages or check the template",
            param="messages",
        )


def require_items(num_items: int) -> None:
    """InvalidRequestError where a template would make a longer list than it may."""
    if num_items > MAX_ITEMS:
        raise InvalidRequestError(
            f"the chat template would make a list of {num_items:,} items, more than the "
            f"{MAX_ITEMS:,} allowed; send fewer messages or check the template",
            param="messages",
        )
