"""JSON from untrusted files: an object, no duplicate keys, no NaN, bounded size and depth."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from legato.errors import ModelFormatError


def parse_object(text: bytes, what: str) -> dict[str, Any]:
    """The object in `text`. Raises ModelFormatError that begins with `what`."""
    if text[:1] != b"{" and not text.lstrip().startswith(b"{"):
        raise ModelFormatError(f"{what} is no JSON object")
    try:
        value: dict[str, Any] = json.loads(
            text.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{what} is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ModelFormatError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise ModelFormatError(f"{what} is not valid JSON: {error}") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice!r} is there twice")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")
