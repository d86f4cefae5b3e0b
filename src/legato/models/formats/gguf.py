"""GGUF version 2 and 3: a memory map, its metadata, and its tensors as views.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from legato.errors import ModelFormatError
from legato.models.formats.gguf_metadata import MAX_KEYS, TYPE_NAMES, Cursor, read_metadata
from legato.models.formats.mapping import map_file
from legato.tensor import Tensor, WeightFormat

MAX_TENSORS = 1 << 16
MAX_NAME_BYTES = 1 << 10
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 16

TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS",
    17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M",
    30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """What a GGUF file holds. Tensor data are views into the map, which lives as long as they."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _TensorInfo:
    """A tensor's entry; `offset` counts from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    format: WeightFormat
    offset: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape[:-1]) * self.format.row_bytes(self.shape[-1])

    @property
    def end(self) -> int:
        return self.offset + self.nbytes


def read_gguf(path: Path) -> GGUFFile:
    """Map `path` and check all of its structure.

    Raises:
        ModelFormatError: the file is not well-formed GGUF, or has tensors of unsupported types.
    """
    try:
        return _parse(path, map_file(path))
    except ModelFormatError as error:
        raise ModelFormatError(f"{path.name} is not a usable GGUF file: {error}") from None


def _parse(path: Path, data: mmap.mmap) -> GGUFFile:
    cursor = Cursor(data)
    _check_version(cursor)
    num_tensors = cursor.count("number of tensors", min(MAX_TENSORS, cursor.size // 24))
    num_keys = cursor.count("number of keys", min(MAX_KEYS, cursor.size // 13))
    metadata, types = read_metadata(cursor, num_keys)
    alignment = _alignment(metadata, types)
    infos = _read_tensor_infos(cursor, num_tensors)
    data_start = -(-cursor.offset // alignment) * alignment
    _check_offsets(infos, alignment, cursor.size - data_start)
    file_bytes = np.frombuffer(data, np.uint8)
    tensors = {
        info.name: Tensor(
            info.name,
            info.shape,
            info.format,
            file_bytes[data_start + info.offset : data_start + info.end],
        )
        for info in infos
    }
    return GGUFFile(path, metadata, tensors)


def _check_version(cursor: Cursor) -> None:
    cursor.require(4, "magic")
    if (magic := cursor.data[:4]) != b"GGUF":
        raise ModelFormatError(f"magic is {magic!r}, not b'GGUF'")
    cursor.offset = 4
    version = cursor.u32("version")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        hint = "; the file is big-endian" if swapped in (1, 2, 3) else ""
        raise ModelFormatError(f"version is {version}{hint}; supported: little-endian 2 and 3")


def _alignment(metadata: dict[str, Any], types: dict[str, int]) -> int:
    key = "general.alignment"
    if key not in metadata:
        return DEFAULT_ALIGNMENT
    if types[key] != 4:
        raise ModelFormatError(f"{key!r} has type {TYPE_NAMES[types[key]]}, not UINT32")
    alignment: int = metadata[key]
    if not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise ModelFormatError(f"{key!r} is {alignment}, no power of two in 8…{MAX_ALIGNMENT}")
    return alignment


def _read_tensor_infos(cursor: Cursor, num_tensors: int) -> list[_TensorInfo]:
    infos: dict[str, _TensorInfo] = {}
    for index in range(num_tensors):
        info = _read_tensor_info(cursor, index)
        if info.name in infos:
            raise ModelFormatError(f"tensor {info.name!r} is there twice")
        infos[info.name] = info
    return list(infos.values())


def _read_tensor_info(cursor: Cursor, index: int) -> _TensorInfo:
    name = cursor.string(f"name of tensor {index}", MAX_NAME_BYTES)
    if not name:
        raise ModelFormatError(f"name of tensor {index} is empty")
    field = f"tensor {name!r}"
    shape = _read_shape(cursor, field)
    weight_format = _weight_format(cursor.u32(f"type of {field}"), field)
    if shape[-1] % weight_format.block:
        raise ModelFormatError(
            f"{field}: rows of {shape[-1]} elements are no multiple of the "
            f"{weight_format.block} in a block of {weight_format.name}"
        )
    return _TensorInfo(name, shape, weight_format, cursor.u64(f"offset of {field}"))


def _read_shape(cursor: Cursor, field: str) -> tuple[int, ...]:
    """Dimensions, which the file gives with the columns first, as [.., rows, columns]."""
    count = cursor.u32(f"number of dimensions of {field}")
    if not 1 <= count <= MAX_DIMENSIONS:
        raise ModelFormatError(f"{field} has {count} dimensions; it must have 1 to 4")
    sizes = [cursor.u64(f"dimensions of {field}") for _ in range(count)]
    if not all(0 < size < 1 << 63 for size in sizes):
        raise ModelFormatError(f"{field} has dimensions {sizes}; all must be positive")
    return tuple(reversed(sizes))


def _weight_format(type_id: int, field: str) -> WeightFormat:
    name = TENSOR_TYPES.get(type_id, f"{type_id}, which does not exist")
    if name not in WeightFormat.__members__:
        supported = ", ".join(WeightFormat.__members__)
        raise ModelFormatError(f"{field} has type {name}; supported: {supported}")
    return WeightFormat[name]


def _check_offsets(infos: list[_TensorInfo], alignment: int, data_size: int) -> None:
    """Tensors must be aligned, lie inside the file and not overlap."""
    end, before = 0, ""
    for info in sorted(infos, key=lambda info: info.offset):
        field = f"tensor {info.name!r}"
        if info.offset % alignment:
            raise ModelFormatError(f"{field}: offset {info.offset} is not aligned to {alignment}")
        if info.end > data_size:
            raise ModelFormatError(
                f"{field} ends at byte {info.end} of the data section, which has "
                f"{max(data_size, 0)}; is the file complete?"
            )
        if info.offset < end:
            raise ModelFormatError(f"{field} overlaps tensor {before!r}")
        end, before = info.end, info.name
