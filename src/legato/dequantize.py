"""Weights as float32, exactly as ggml defines each block format.

The layouts are those of GGUF: a block is a scale (and a minimum) in f16 beside packed integers.
All arithmetic is float32 in ggml's order, so that results are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from legato.tensor import Tensor, WeightFormat

Bytes = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

_VALUES_AT_ONCE = 1 << 19
_F32_LITTLE, _F16_LITTLE = np.dtype("<f4"), np.dtype("<f2")


def dequantize(tensor: Tensor) -> F32:
    """All of `tensor` as a new f32 array of `tensor.shape`."""
    row_bytes = tensor.format.row_bytes(tensor.shape[-1])
    return _dequantize(tensor.data.reshape(-1, row_bytes), tensor.format).reshape(tensor.shape)


def _dequantize(rows: Bytes, weight_format: WeightFormat) -> F32:
    """Bytes of whole rows [rows, row bytes] → f32 [rows, columns]."""
    unpack = _UNPACK[weight_format]
    blocks = np.ascontiguousarray(rows).reshape(-1, weight_format.block_bytes)
    values = np.empty((len(blocks), weight_format.block), np.float32)
    # Infinite or NaN scales are the file's own; they pass through without a warning.
    with np.errstate(invalid="ignore", over="ignore"):
        step = _VALUES_AT_ONCE // weight_format.block
        for start in range(0, len(blocks), step):
            part = slice(start, start + step)
            values[part] = unpack(blocks[part])
    columns = rows.shape[1] // weight_format.block_bytes * weight_format.block
    return values.reshape(len(rows), columns)


def _halves(blocks: Bytes, start: int) -> F32:
    """The f16 at byte `start` of each block, as f32 [blocks, 1]."""
    return blocks[:, start : start + 2].copy().view(_F16_LITTLE).astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """[..., n] bytes → [..., 2n]: all low nibbles, then all high ones."""
    return np.concatenate([packed & 0x0F, packed >> 4], axis=-1)


def _fifth_bits(packed: Bytes) -> Bytes:
    """[blocks, 4] bytes → [blocks, 32]: bit i, moved to the place of value 16."""
    return np.unpackbits(packed, axis=-1, bitorder="little") << np.uint8(4)


def _f32(blocks: Bytes) -> F32:
    return blocks.copy().view(_F32_LITTLE)


def _f16(blocks: Bytes) -> F32:
    return _halves(blocks, 0)


def _bf16(blocks: Bytes) -> F32:
    high = blocks.copy().view("<u2").astype(np.uint32)
    return (high << 16).view(np.float32)


def _q4_0(blocks: Bytes) -> F32:
    quants = _nibbles(blocks[:, 2:]).astype(np.float32) - np.float32(8)
    return _halves(blocks, 0) * quants


def _q4_1(blocks: Bytes) -> F32:
    return _halves(blocks, 0) * _nibbles(blocks[:, 4:]) + _halves(blocks, 2)


def _q5_0(blocks: Bytes) -> F32:
    quants = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return _halves(blocks, 0) * (quants.astype(np.float32) - np.float32(16))


def _q5_1(blocks: Bytes) -> F32:
    quants = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return _halves(blocks, 0) * quants + _halves(blocks, 2)


def _q8_0(blocks: Bytes) -> F32:
    return _halves(blocks, 0) * blocks[:, 2:].view(np.int8)


def _k_scales(packed: Bytes) -> tuple[Bytes, Bytes]:
    """12 bytes → eight 6-bit scales and eight 6-bit minima, each [blocks, 8, 1].

    The first four of each fill the low six bits of bytes 0–3 and 4–7; the last four have their
    low nibbles in bytes 8–11 and their high two bits in what is left of bytes 0–7.
    """
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], axis=1)
    return scales[:, :, None], minima[:, :, None]


def _k_values(blocks: Bytes, quants: Bytes) -> F32:
    """Quants [blocks, 8, 32] of Q4_K and Q5_K with the scales in the block's first 16 bytes."""
    scales, minima = _k_scales(blocks[:, 4:16])
    scale = _halves(blocks, 0)[:, :, None] * scales
    minimum = _halves(blocks, 2)[:, :, None] * minima
    return (scale * quants - minimum).reshape(len(blocks), 256)


def _q4_k(blocks: Bytes) -> F32:
    quants = _nibbles(blocks[:, 16:].reshape(-1, 4, 32))
    return _k_values(blocks, quants.reshape(-1, 8, 32))


def _q5_k(blocks: Bytes) -> F32:
    low = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    sub_block = np.arange(8, dtype=np.uint8)[None, :, None]
    fifth = (blocks[:, None, 16:48] >> sub_block) & np.uint8(1)
    return _k_values(blocks, low | fifth << np.uint8(4))


def _q6_k(blocks: Bytes) -> F32:
    low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    shift = np.arange(0, 8, 2, dtype=np.uint8)[None, None, :, None]
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shift) & 3
    quants = (low | high << 4).astype(np.float32) - np.float32(32)
    scales = _halves(blocks, 208) * blocks[:, 192:208].view(np.int8)
    values = scales[:, :, None] * quants.reshape(-1, 16, 16)
    return values.reshape(len(blocks), 256)


_UNPACK: dict[WeightFormat, Callable[[Bytes], F32]] = {
    WeightFormat.F32: _f32,
    WeightFormat.F16: _f16,
    WeightFormat.BF16: _bf16,
    WeightFormat.Q4_0: _q4_0,
    WeightFormat.Q4_1: _q4_1,
    WeightFormat.Q5_0: _q5_0,
    WeightFormat.Q5_1: _q5_1,
    WeightFormat.Q8_0: _q8_0,
    WeightFormat.Q4_K: _q4_k,
    WeightFormat.Q5_K: _q5_k,
    WeightFormat.Q6_K: _q6_k,
}
