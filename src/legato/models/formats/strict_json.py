"""JSON from untrusted files: an object, no duplicate keys, no NaN, bounded size and depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from legato.errors import ModelFormatError

MAX_FILE_BYTES = 1 << 24


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file of at most 16 MiB. Raises ModelFormatError that names the file."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelFormatError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(text) > MAX_FILE_BYTES:
        raise ModelFormatError(f"{path.name} is larger than {MAX_FILE_BYTES} bytes")
    return parse_object(text, path.name)


def parse_object(text: bytes, what: str) -> dict[str, Any]:
    """The object in `text`. Raises ModelFormatError that begins with `what`."""
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{what} is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ModelFormatError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise ModelFormatError(f"{what} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelFormatError(f"{what} is no JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key!r} is there twice")
        values[key] = value
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")
