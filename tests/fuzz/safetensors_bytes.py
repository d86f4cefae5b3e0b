"""Safetensors files from any header."""

from __future__ import annotations

import json
from typing import Any

DATA_BYTES = 24
HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]},
}


def safetensors_file(
    header: object = HEADER, *, length: int | None = None, data_bytes: int = DATA_BYTES
) -> bytes:
    """`header` as JSON (bytes stay as they are), its length, and zeros."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    return size.to_bytes(8, "little") + text + bytes(data_bytes)


def changed(name: str, **fields: object) -> bytes:
    """The good header with fields of one tensor replaced."""
    return safetensors_file({**HEADER, name: {**HEADER[name], **fields}})
