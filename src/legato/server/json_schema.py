"""Pieces of the JSON schemas of fields that are parsed by hand."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

NAME_PATTERN = "^[a-zA-Z0-9_-]{1,64}$"
"""Of the names of functions and schemas."""

NAME: Schema = {"type": "string", "pattern": NAME_PATTERN}


def object_of(required: list[str], **properties: object) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def nullable(kind: str) -> Schema:
    """A value of that type, or null."""
    return {"anyOf": [{"type": kind}, {"type": "null"}]}
