"""The program: a flat list of ops over named buffers. Data only; `ops.py` gives it meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from legato.config import KVElement
from legato.models.arch import RopeConfig
from legato.tensor import WeightFormat

ParamValue = int | float | str | None | RopeConfig
RowKind = Literal["tokens", "outputs"]

_ELEMENT_BYTES: Mapping[KVElement, int] = {"f32": 4, "f16": 2, "bf16": 2, "int8": 1}
_SCALE_BYTES: Mapping[KVElement, int] = {"f32": 0, "f16": 0, "bf16": 0, "int8": 4}


class OpKind(StrEnum):
    """The vocabulary. A backend that implements these runs every model."""

    EMBED = "embed"
    SCALE = "scale"
    RMS_NORM = "rms_norm"
    LINEAR = "linear"
    ROPE = "rope"
    KV_APPEND = "kv_append"
    ATTENTION = "attention"
    GATED_ACTIVATION = "gated_activation"
    ADD = "add"
    TAKE_ROWS = "take_rows"
    SOFT_CAP = "soft_cap"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Buffer:
    """Activations: f32 [rows, width], a row per token of the batch or per sampled output."""

    name: str
    rows: RowKind
    width: int


@dataclass(frozen=True, slots=True)
class WeightInfo:
    """What a program knows of a weight: its canonical name, shape [out, in] and format."""

    name: str
    shape: tuple[int, ...]
    format: WeightFormat


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. Operands are buffer names, weights are weight names."""

    kind: OpKind
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...] = ()
    params: tuple[tuple[str, ParamValue], ...] = ()

    def param(self, name: str) -> ParamValue:
        """The value of parameter `name`; KeyError where the op has none of that name."""
        return dict(self.params)[name]

    def integer(self, name: str) -> int:
        """Parameter `name` as an int."""
        value = self.param(name)
        assert isinstance(value, int), (self.name, name, value)
        return value

    def number(self, name: str) -> float:
        """Parameter `name` as a float."""
        value = self.param(name)
        assert isinstance(value, int | float), (self.name, name, value)
        return float(value)


@dataclass(frozen=True, slots=True)
class KVGroup:
    """Layers whose keys and values live in the same blocks. `window` in tokens, or None."""

    layers: tuple[int, ...]
    window: int | None


@dataclass(frozen=True, slots=True)
class KVLayout:
    """How the KV cache of a model is cut into blocks.

    Every group has the same number of layers, so that one pool of equal blocks serves them all.
    A sequence has one block table per group; block b of group g holds keys and values of
    `block_size` consecutive tokens for each of the group's layers.
    """

    groups: tuple[KVGroup, ...]
    block_size: int
    num_kv_heads: int
    head_dim: int
    dtype: KVElement

    @property
    def layers_per_block(self) -> int:
        """Layers in each group."""
        return len(self.groups[0].layers)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token in one layer: keys and values, with their scales where they have."""
        vector = self.head_dim * _ELEMENT_BYTES[self.dtype] + _SCALE_BYTES[self.dtype]
        return 2 * self.num_kv_heads * vector

    @property
    def block_bytes(self) -> int:
        """Bytes of one block: keys and values of all layers of a group."""
        return self.layers_per_block * self.block_size * self.token_bytes


@dataclass(frozen=True, slots=True)
class Program:
    """A model, ready for any backend, for the cost model and for the partitioner."""

    ops: tuple[Op, ...]
    buffers: dict[str, Buffer]
    weights: dict[str, WeightInfo]
    kv: KVLayout
    vocab_size: int
    max_context: int
