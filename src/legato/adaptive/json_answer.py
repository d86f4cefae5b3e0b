"""The member of a JSON object in a text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from legato.adaptive.normalise import normalised_number, normalised_text

MAX_JSON = 65_536
"""Characters, from the first brace on, that are parsed."""

MAX_DEPTH = 16


def member_path(written: str) -> tuple[str, ...]:
    """The steps of a path: names, and places of lists. ValueError where there is none."""
    path = tuple(written.split("."))
    if not all(path) or len(path) > MAX_DEPTH:
        raise ValueError(f"a path is 1 to {MAX_DEPTH} names joined by dots, as in result.value")
    return path


def json_member(path: Sequence[str], text: str) -> str | None:
    """The member at `path` of the first JSON object in `text`, normalised; None without one."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start : start + MAX_JSON])
    except (ValueError, RecursionError):
        return None
    for step in path:
        value = _member(value, step)
    return _normalised(value)


def _member(value: object, step: str) -> object:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 9:
        return value[int(step)] if int(step) < len(value) else None
    return None


def _normalised(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return normalised_number(repr(value))
    if isinstance(value, str):
        return normalised_text(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
