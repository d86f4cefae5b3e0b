"""The operand tables of a native plan: names of the program become indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from legato import _native
from legato.dequantize import dequantize
from legato.models.arch import RopeConfig
from legato.program.program import Op
from legato.tensor import Tensor, WeightFormat

Key = TypeVar("Key")

FORMATS = {
    WeightFormat.F32: _native.Format.F32,
    WeightFormat.F16: _native.Format.F16,
    WeightFormat.BF16: _native.Format.BF16,
    WeightFormat.Q4_0: _native.Format.Q4_0,
    WeightFormat.Q4_1: _native.Format.Q4_1,
    WeightFormat.Q5_0: _native.Format.Q5_0,
    WeightFormat.Q5_1: _native.Format.Q5_1,
    WeightFormat.Q8_0: _native.Format.Q8_0,
    WeightFormat.Q4_K: _native.Format.Q4_K,
    WeightFormat.Q5_K: _native.Format.Q5_K,
    WeightFormat.Q6_K: _native.Format.Q6_K,
}


class Tables:
    """Buffers, weights, vectors and ropes of a plan, each numbered in order of first use."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self.buffers: dict[str, int] = {}
        self._weights: dict[str, int] = {}
        self._vectors: dict[tuple[str, float], int] = {}
        self._ropes: dict[RopeConfig, int] = {}

    def buffer(self, name: str) -> int:
        """Index of an activation buffer."""
        return _index(self.buffers, name)

    def weight(self, name: str) -> int:
        """Index of a matrix."""
        return _index(self._weights, name)

    def bias(self, op: Op) -> int:
        """Index of a linear op's bias as an f32 vector, or NONE."""
        return _index(self._vectors, (op.weights[1], 0.0)) if op.weights[1:] else _native.NONE

    def norm(self, op: Op) -> _native.Norm:
        """The normalisation of an rms_norm op, its offset folded into the weight."""
        key = (op.weights[0], op.number("weight_offset"))
        return _native.Norm(_index(self._vectors, key), op.number("eps"))

    def rope(self, config: RopeConfig) -> int:
        """Index of a rotary embedding."""
        return _index(self._ropes, config)

    def weight_specs(self) -> list[_native.Weight]:
        """The matrices, over the tensors' own bytes."""
        return [_weight(self._tensors[name]) for name in self._weights]

    def vector_values(self) -> list[list[float]]:
        """Norm weights and biases in f32."""
        return [
            (dequantize(self._tensors[name]) + np.float32(offset)).tolist()
            for name, offset in self._vectors
        ]

    def rope_specs(self) -> list[_native.Rope]:
        """The rotary embeddings."""
        return [
            _native.Rope(list(rope.frequencies), rope.style == "interleaved", rope.magnitude)
            for rope in self._ropes
        ]


def _index(indices: dict[Key, int], key: Key) -> int:
    return indices.setdefault(key, len(indices))


def _weight(tensor: Tensor) -> _native.Weight:
    rows, columns = tensor.shape
    return _native.Weight(FORMATS[tensor.format], rows, columns, tensor.data.reshape(-1))
