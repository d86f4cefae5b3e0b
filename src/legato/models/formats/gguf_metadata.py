"""The key-value part of a GGUF file, read strictly and without copying more than it names.

Every length is checked against the file before anything is allocated, and every error names the
field. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from typing import Any

import numpy as np

from legato.errors import ModelFormatError

MAX_KEYS = 1 << 16
MAX_KEY_BYTES = 1 << 16
MAX_STRING_BYTES = 1 << 24
MAX_ARRAY_ELEMENTS = 1 << 21  # of all arrays together: two million, four times Gemma's vocabulary

STRING, ARRAY, BOOL = 8, 9, 7
SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    BOOL: struct.Struct("<B"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
TYPE_NAMES = {
    0: "UINT8", 1: "INT8", 2: "UINT16", 3: "INT16", 4: "UINT32", 5: "INT32", 6: "FLOAT32",
    7: "BOOL", 8: "STRING", 9: "ARRAY", 10: "UINT64", 11: "INT64", 12: "FLOAT64",
}  # fmt: skip


Value = bool | int | float | str | list[Any]


class Cursor:
    """A position in the mapped file. `field` arguments say what is being read, for errors."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.size = len(data)
        self.offset = 0
        self.elements_left = MAX_ARRAY_ELEMENTS

    def number(self, layout: struct.Struct, field: str) -> int | float:
        """One number; the file must still hold its bytes."""
        self.require(layout.size, field)
        value: int | float = layout.unpack_from(self.data, self.offset)[0]
        self.offset += layout.size
        return value

    def u32(self, field: str) -> int:
        """A count, version or type."""
        return int(self.number(SCALARS[4], field))

    def u64(self, field: str) -> int:
        """A length, size or offset."""
        return int(self.number(SCALARS[10], field))

    def count(self, field: str, limit: int) -> int:
        """A u64 that must not exceed `limit`."""
        value = self.u64(field)
        if value > limit:
            raise ModelFormatError(f"{field}: {value} is more than the {limit} that can be")
        return value

    def string(self, field: str, limit: int = MAX_STRING_BYTES) -> str:
        """A length and that many bytes of UTF-8."""
        length = self.count(f"length of {field}", min(limit, self.size))
        self.require(length, field)
        text = self.data[self.offset : self.offset + length]
        self.offset += length
        return _decode(text, field)

    def require(self, length: int, field: str) -> None:
        """Raise ModelFormatError unless `length` more bytes are in the file."""
        if length > self.size - self.offset:
            raise ModelFormatError(f"{field}: the file ends at byte {self.size}, inside it")


def read_metadata(cursor: Cursor, num_keys: int) -> tuple[dict[str, Value], dict[str, int]]:
    """Keys → values (arrays as lists), and keys → type ids. Raises ModelFormatError."""
    values: dict[str, Value] = {}
    types: dict[str, int] = {}
    for index in range(num_keys):
        key = _read_key(cursor, index)
        if key in values:
            raise ModelFormatError(f"key {key!r} is there twice")
        types[key] = cursor.u32(f"type of {key!r}")
        values[key] = _read_value(cursor, types[key], repr(key))
    return values, types


def _read_key(cursor: Cursor, index: int) -> str:
    key = cursor.string(f"key {index}", MAX_KEY_BYTES)
    if not key:
        raise ModelFormatError(f"key {index} is empty")
    return key


def _read_value(cursor: Cursor, type_id: int, field: str) -> Value:
    if type_id == STRING:
        return cursor.string(field)
    if type_id == ARRAY:
        return _read_array(cursor, field)
    if type_id not in SCALARS:
        raise ModelFormatError(f"{field}: value type {type_id} does not exist")
    value = cursor.number(SCALARS[type_id], field)
    return _boolean(value, field) if type_id == BOOL else value


def _boolean(value: float, field: str) -> bool:
    if value > 1:
        raise ModelFormatError(f"{field}: {value} is no boolean")
    return bool(value)


def _read_array(cursor: Cursor, field: str) -> list[Any]:
    type_id = cursor.u32(f"element type of {field}")
    count = cursor.count(f"length of {field}", cursor.elements_left)
    cursor.elements_left -= count
    if type_id == STRING:
        return _read_strings(cursor, count, field)
    if type_id not in SCALARS:
        raise ModelFormatError(f"{field}: arrays of value type {type_id} are not supported")
    return _read_numbers(cursor, type_id, count, field)


def _read_numbers(cursor: Cursor, type_id: int, count: int, field: str) -> list[Any]:
    layout = SCALARS[type_id]
    cursor.require(count * layout.size, field)
    numbers = np.frombuffer(cursor.data, np.dtype(layout.format), count, cursor.offset)
    cursor.offset += count * layout.size
    if type_id == BOOL:
        return [_boolean(value, field) for value in numbers.tolist()]
    values: list[Any] = numbers.tolist()
    return values


def _read_strings(cursor: Cursor, count: int, field: str) -> list[str]:
    """A vocabulary has a quarter of a million entries: one loop with nothing else in it.

    Bounds are left to `unpack_from` and to slices, which stop at the end of the file; a string
    that claims more than there is leaves `offset` behind the end.
    """
    cursor.require(count * 8, field)
    data, offset, unpack = cursor.data, cursor.offset, SCALARS[10].unpack_from
    strings: list[str] = []
    try:
        for _ in range(count):
            start = offset + 8
            offset = start + unpack(data, offset)[0]
            strings.append(data[start:offset].decode())
    except UnicodeDecodeError:
        raise ModelFormatError(f"{field}[{len(strings)}] is not UTF-8") from None
    except (struct.error, OverflowError):
        offset = cursor.size + 1
    if offset > cursor.size:
        raise ModelFormatError(f"{field}: the file ends inside element {len(strings)}")
    cursor.offset = offset
    return strings


def _decode(text: bytes, field: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{field} is not UTF-8 at byte {error.start}") from None
