"""The reference backend's KV pool: what each element type means.

A vector is the key or value of one token and KV head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from legato.backends.base import F32, I32
from legato.config import KVElement
from legato.program.program import KVLayout

Stored = npt.NDArray[np.float32 | np.float16 | np.uint16 | np.int8]

INT8_LEVELS = np.float32(127)
_STORED: Mapping[KVElement, npt.DTypeLike] = {
    "f32": np.float32,
    "f16": np.float16,
    "bf16": np.uint16,
    "int8": np.int8,
}


class ReferenceKV:
    """Keys and values [blocks, layers, 2, block_size, num_kv_heads, head_dim].

    "f32" and "f16" are IEEE 754, rounded to nearest even. "bf16" is the upper half of f32, rounded
    likewise. "int8" is round(x · 127 / max|x|) with the scale max|x| / 127 of its vector.
    """

    def __init__(self, layout: KVLayout, num_blocks: int) -> None:
        vectors = (
            num_blocks,
            layout.layers_per_block,
            2,
            layout.block_size,
            layout.num_kv_heads,
        )
        self.num_blocks = num_blocks
        self._dtype = layout.dtype
        self._elements: Stored = np.zeros((*vectors, layout.head_dim), _STORED[layout.dtype])
        self._scales: F32 = np.zeros(vectors if layout.dtype == "int8" else 0, np.float32)

    def write(self, blocks: I32, layer: int, which: int, slots: I32, vectors: F32) -> None:
        """Store `vectors` [tokens, num_kv_heads, head_dim]; `which`: 0 keys, 1 values."""
        place = blocks, layer, which, slots
        if self._dtype == "int8":
            self._elements[place], self._scales[place] = quantise(vectors)
        elif self._dtype == "bf16":
            self._elements[place] = to_bf16(vectors)
        else:
            self._elements[place] = vectors

    def read(self, blocks: I32, layer: int, which: int, slots: I32) -> F32:
        """The vectors at those places, [tokens, num_kv_heads, head_dim]."""
        place = blocks, layer, which, slots
        elements = self._elements[place]
        if self._dtype == "bf16":
            elements = (elements.astype(np.uint32) << 16).view(np.float32)
        values: F32 = elements.astype(np.float32)
        return values * self._scales[place][..., None] if self._dtype == "int8" else values

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy whole blocks pairwise, in the order given."""
        for source, target in zip(sources, targets, strict=True):
            self._elements[target] = self._elements[source]
            if self._dtype == "int8":
                self._scales[target] = self._scales[source]


def quantise(vectors: F32) -> tuple[npt.NDArray[np.int8], F32]:
    """Vectors [..., head_dim] as int8, and their scales [...]: element · scale is near the vector.

    The error is at most max|x| / 254, and rounding. A vector with a value that is not finite has
    a scale that is not finite.
    """
    most = np.abs(vectors).max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.where(most > 0, INT8_LEVELS / most, np.float32(0))
        elements = np.rint(vectors * levels[..., None])
    return np.nan_to_num(elements).astype(np.int8), most / INT8_LEVELS


def to_bf16(values: F32) -> npt.NDArray[np.uint16]:
    """The upper halves of f32 values, rounded to nearest even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
