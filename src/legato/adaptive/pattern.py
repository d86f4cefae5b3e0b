"""A caller's regular expressions, matched in linear time whatever they are (RE2)."""

from __future__ import annotations

from collections import deque
from typing import Any

import re2

MAX_MEMORY = 1 << 20
"""Bytes that a compiled pattern and its states may take; larger patterns are refused."""


class LinearPattern:
    """A regular expression in RE2's syntax: no look-around, no back-references."""

    def __init__(self, pattern: str) -> None:
        """ValueError says what is wrong with `pattern`."""
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_MEMORY
        try:
            self._compiled: Any = re2.compile(pattern, options)
        except re2.error as error:
            raise ValueError(f"the regular expression cannot be used: {_reason(error)}") from None

    def last(self, text: str) -> str | None:
        """The first group of the last match in `text`, or the whole match without groups."""
        matches = deque(self._compiled.finditer(text), maxlen=1)
        if not matches:
            return None
        found = matches[0].group(1 if self._compiled.groups else 0)
        return None if found is None else str(found)


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else "it is not valid"
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
