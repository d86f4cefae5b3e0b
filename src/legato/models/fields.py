"""Hyper-parameters read by name, with type and range checked. Every error names the key."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from legato.errors import ModelFormatError

# No size of a real model comes near: it bounds what a damaged file can make us allocate.
MAX_INTEGER = (1 << 31) - 1
MAX_LAYERS = 1024
MIN_NUMBER, MAX_NUMBER = 1e-15, 1e15


class Fields:
    """A mapping of hyper-parameters, seen below `prefix`. A null counts as absent."""

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix

    def with_defaults(self, defaults: Mapping[str, Any]) -> Fields:
        """The same with `defaults` for keys that are not there; an explicit null stays."""
        return Fields({**defaults, **self._values})

    def name(self, key: str) -> str:
        """`key` as it is written in the file."""
        return self._prefix + key

    def has(self, key: str) -> bool:
        """Whether `key` has a value."""
        return self._values.get(self.name(key)) is not None

    def value(self, key: str) -> Any:  # noqa: ANN401
        """The value as it is in the file, for what no other method reads; None where absent."""
        return self._values.get(self.name(key))

    def integer(
        self, key: str, default: int | None = None, *, minimum: int = 1, maximum: int = MAX_INTEGER
    ) -> int:
        """An integer in [minimum, maximum]."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(key, "it must be an integer")
        if not minimum <= value <= maximum:
            raise self.error(key, f"it must be in {minimum}…{maximum}")
        return value

    def number(self, key: str, default: float | None = None, *, minimum: float = 0.0) -> float:
        """A number above `minimum`, and neither so large nor so small that float32 loses it."""
        value = self._get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(key, "it must be a number")
        if not max(minimum, MIN_NUMBER) < value <= MAX_NUMBER:
            raise self.error(key, f"it must be above {minimum:g} and at most {MAX_NUMBER:g}")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A finite positive number, or None where absent."""
        return self.number(key) if self.has(key) else None

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "it must be true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "it must be a string")
        return value

    def section(self, key: str) -> Fields:
        """The nested object `key`, empty where absent."""
        value = self._get(key, {})
        if not isinstance(value, Mapping):
            raise self.error(key, "it must be an object")
        return Fields(value)

    def error(self, key: str, reason: str) -> ModelFormatError:
        """An error that shows `key`, its value and what it should be."""
        shown = reprlib.repr(self._values.get(self.name(key)))
        return ModelFormatError(f"{self.name(key)} is {shown}: {reason}")

    def _get(self, key: str, default: Any) -> Any:  # noqa: ANN401
        value = self._values.get(self.name(key))
        if value is not None:
            return value
        if default is None:
            raise ModelFormatError(f"{self.name(key)} is missing")
        return default
