"""Safetensors files and folders of them: a memory map, a strict header, tensors as views.

A file is a u64 length, that many bytes of JSON and the data, in which tensors lie without holes.
The `safetensors` package is not used: without torch it cannot give bf16 tensors, and it copies.
Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from legato.errors import ModelFormatError
from legato.models.formats.mapping import map_file
from legato.models.formats.strict_json import parse_object, read_object
from legato.tensor import Tensor, WeightFormat

MAX_HEADER_BYTES = 1 << 22  # thirty thousand tensors; bounds what hostile JSON can make of it
MAX_DIMENSIONS = 8
FORMATS = {"F32": WeightFormat.F32, "F16": WeightFormat.F16, "BF16": WeightFormat.BF16}
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tensor's header entry, with [start, end) in the data section."""

    name: str
    shape: tuple[int, ...]
    format: WeightFormat
    start: int
    end: int


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, as views into the map, from one file.

    Raises ModelFormatError where the file is not well formed or has tensors of other types.
    """
    try:
        return _parse(map_file(path))
    except ModelFormatError as error:
        raise ModelFormatError(f"{path.name} is not a usable safetensors file: {error}") from None


def read_safetensors_folder(folder: Path) -> dict[str, Tensor]:
    """Tensors of ``model.safetensors`` or of all shards that the index names.

    Raises ModelFormatError where neither is there, or where index and shards do not agree.
    """
    if (folder / INDEX).exists():
        return _read_shards(folder)
    if (folder / SINGLE).exists():
        return read_safetensors(folder / SINGLE)
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    hint = (
        f"; {pickles[0]} is a pickle, which can run code and is never loaded: "
        "convert it to safetensors"
        if pickles
        else ""
    )
    raise ModelFormatError(f"there is no {SINGLE} and no {INDEX} in {folder.name}{hint}")


def _read_shards(folder: Path) -> dict[str, Tensor]:
    where = _weight_map(folder / INDEX)
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(where.values())):
        for name, tensor in read_safetensors(folder / shard).items():
            if where.get(name) != shard:
                raise ModelFormatError(f"{shard} has tensor {name!r}, which {INDEX} puts elsewhere")
            tensors[name] = tensor
    if missing := [name for name in where if name not in tensors]:
        raise ModelFormatError(f"{where[missing[0]]} has no tensor {missing[0]!r}, as {INDEX} says")
    return tensors


def _weight_map(path: Path) -> dict[str, str]:
    """Tensor name → shard, a file beside the index."""
    where = read_object(path).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ModelFormatError(f"{INDEX} has no weight_map")
    for name, shard in where.items():
        if not isinstance(shard, str) or Path(shard).name != shard or shard in ("", ".", ".."):
            raise ModelFormatError(f"{INDEX}: tensor {name!r} is in {shard!r}, no file name")
    return where


def _parse(data: mmap.mmap) -> dict[str, Tensor]:
    if len(data) < 8:
        raise ModelFormatError("it ends inside the header's length")
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ModelFormatError(
            f"header length is {length}, in a file of {len(data)} bytes (limit {MAX_HEADER_BYTES})"
        )
    if data[8:9] != b"{":
        raise ModelFormatError("header does not begin with '{'")
    header = parse_object(data[8 : 8 + length], "header")
    _check_metadata(header.pop("__metadata__", {}))
    entries = [_entry(name, value) for name, value in header.items()]
    payload = np.frombuffer(data, np.uint8)[8 + length :]
    _check_layout(entries, len(payload))
    return {entry.name: _tensor(entry, payload) for entry in entries}


def _tensor(entry: _Entry, payload: npt.NDArray[np.uint8]) -> Tensor:
    return Tensor(entry.name, entry.shape, entry.format, payload[entry.start : entry.end])


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelFormatError("__metadata__ must map strings to strings")


def _entry(name: str, value: Any) -> _Entry:  # noqa: ANN401
    field = f"tensor {name!r}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFormatError(f"{field} must have dtype, shape and data_offsets alone")
    dtype = value["dtype"]
    if not isinstance(dtype, str) or dtype not in FORMATS:
        raise ModelFormatError(f"{field} has dtype {dtype!r}; supported: {', '.join(FORMATS)}")
    shape = _naturals(value["shape"], f"{field}: shape")
    start, end = _offsets(value["data_offsets"], field)
    size = prod(shape) * FORMATS[dtype].block_bytes
    if end - start != size:
        raise ModelFormatError(f"{field}: {shape} {dtype} takes {size} bytes, not {end - start}")
    return _Entry(name, shape, FORMATS[dtype], start, end)


def _naturals(value: object, field: str) -> tuple[int, ...]:
    """Up to eight integers from 1 on. Weights have no empty or scalar tensors."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_DIMENSIONS:
        raise ModelFormatError(f"{field} must be a list of 1 to {MAX_DIMENSIONS} integers")
    if not all(type(size) is int and 0 < size < 1 << 63 for size in value):
        raise ModelFormatError(f"{field} must hold positive integers")
    return tuple(value)


def _offsets(value: object, field: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(o) is int for o in value):
        raise ModelFormatError(f"{field}: data_offsets must be two integers")
    start, end = value
    if not 0 <= start <= end:
        raise ModelFormatError(f"{field}: data_offsets {value} are reversed or negative")
    return start, end


def _check_layout(entries: list[_Entry], size: int) -> None:
    """Tensors fill the data section exactly: no overlap, no hole, nothing beyond the end."""
    position = 0
    for entry in sorted(entries, key=lambda entry: entry.start):
        if entry.start != position:
            problem = "overlaps the one before" if entry.start < position else "follows a hole"
            raise ModelFormatError(f"tensor {entry.name!r} {problem}, at byte {entry.start}")
        position = entry.end
    if position != size:
        raise ModelFormatError(
            f"tensors take {position} bytes, the data section has {size}; is the file complete?"
        )
