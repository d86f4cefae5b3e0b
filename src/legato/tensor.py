"""A named weight in the bytes of its file: the unit that loaders give and backends take."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt


class WeightFormat(Enum):
    """Element formats of weights: (name, elements per block, bytes per block).

    The block formats are those of GGUF; rows are whole numbers of blocks.
    """

    F32 = ("f32", 1, 4)
    F16 = ("f16", 1, 2)
    BF16 = ("bf16", 1, 2)
    Q4_0 = ("q4_0", 32, 18)
    Q4_1 = ("q4_1", 32, 20)
    Q5_0 = ("q5_0", 32, 22)
    Q5_1 = ("q5_1", 32, 24)
    Q8_0 = ("q8_0", 32, 34)
    Q4_K = ("q4_k", 256, 144)
    Q5_K = ("q5_k", 256, 176)
    Q6_K = ("q6_k", 256, 210)

    def __init__(self, label: str, block: int, block_bytes: int) -> None:
        self.label = label
        self.block = block
        self.block_bytes = block_bytes

    def row_bytes(self, columns: int) -> int:
        """Bytes of one row of `columns` elements; `columns` must be a multiple of the block."""
        blocks, rest = divmod(columns, self.block)
        if rest:
            raise ValueError(f"{columns} columns are no multiple of {self.label}'s {self.block}")
        return blocks * self.block_bytes


@dataclass(frozen=True, slots=True)
class Tensor:
    """A weight of `shape` (row-major, [out, in]) whose bytes are a read-only uint8 view."""

    name: str
    shape: tuple[int, ...]
    format: WeightFormat
    data: npt.NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return int(self.data.nbytes)
