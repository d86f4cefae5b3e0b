"""GGUF files byte by byte, so that any field can be wrong. Valid by default."""

from __future__ import annotations

import struct
from collections.abc import Sequence

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 5, 6, 7, 8, 9, 10
F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8
LAYOUTS = {0: "<B", UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<B", UINT64: "<Q", 12: "<d"}


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def string(text: str | bytes, length: int | None = None) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return u64(len(data) if length is None else length) + data


def entry(key: str | bytes, type_id: int, value: object, raw: bytes | None = None) -> bytes:
    """One key with its value; `raw` replaces the encoded value."""
    if raw is None:
        raw = string(value) if type_id == STRING else struct.pack(LAYOUTS[type_id], value)
    return string(key) + u32(type_id) + raw


def array(key: str, type_id: int, values: Sequence[object], length: int | None = None) -> bytes:
    count = len(values) if length is None else length
    items = (string(v) if type_id == STRING else struct.pack(LAYOUTS[type_id], v) for v in values)
    return entry(key, ARRAY, None, u32(type_id) + u64(count) + b"".join(items))


def tensor(
    name: str | bytes, dims: Sequence[int], type_id: int, offset: int, num_dims: int | None = None
) -> bytes:
    count = len(dims) if num_dims is None else num_dims
    sizes = b"".join(u64(size) for size in dims)
    return string(name) + u32(count) + sizes + u32(type_id) + u64(offset)


ENTRIES = (
    entry("general.architecture", STRING, "llama"),
    entry("llama.block_count", UINT32, 1),
    entry("general.size", FLOAT32, 1.5),
    entry("general.flag", BOOL, 1),
    array("tokenizer.ggml.tokens", STRING, ["<s>", "a", "é"]),
    array("tokenizer.ggml.scores", FLOAT32, [0.0, -1.0, -2.0]),
)
TENSORS = (tensor("a", [32, 2], F32, 0), tensor("b", [64], Q8_0, 256))
DATA_BYTES = 256 + 96  # "b" takes 68 bytes


def gguf_file(
    entries: Sequence[bytes] = ENTRIES,
    tensors: Sequence[bytes] = TENSORS,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    num_keys: int | None = None,
    num_tensors: int | None = None,
    alignment: int = 32,
    data_bytes: int = DATA_BYTES,
) -> bytes:
    keys = len(entries) if num_keys is None else num_keys
    infos = len(tensors) if num_tensors is None else num_tensors
    header = magic + u32(version) + u64(infos) + u64(keys) + b"".join(entries) + b"".join(tensors)
    padding = b"\0" * (-len(header) % alignment)
    return header + padding + b"\0" * data_bytes
