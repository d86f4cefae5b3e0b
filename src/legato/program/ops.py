"""The op table: operands, shape rule, FLOPs and bytes of every op, in one place.

The arithmetic is defined by `backends/reference.py`. The cost model, the verifier and the
printed form all read this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from legato.errors import ProgramError
from legato.program.program import Buffer, Op, OpKind, Program, RowKind


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a step's cost depends on: per sequence (new rows, tokens cached before), outputs."""

    sequences: tuple[tuple[int, int], ...]
    outputs: int

    @property
    def tokens(self) -> int:
        """Token rows in the step."""
        return sum(rows for rows, _ in self.sequences)

    def rows(self, kind: RowKind) -> int:
        """Rows of a buffer of that kind."""
        return self.tokens if kind == "tokens" else self.outputs


@dataclass(frozen=True, slots=True)
class Cost:
    """Arithmetic and traffic of an op: multiply and add count as two FLOPs.

    `weight_bytes` and `kv_bytes` come from memory; `activation_bytes` mostly from cache.
    """

    flops: float = 0.0
    weight_bytes: float = 0.0
    kv_bytes: float = 0.0
    activation_bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.weight_bytes + other.weight_bytes,
            self.kv_bytes + other.kv_bytes,
            self.activation_bytes + other.activation_bytes,
        )


ShapeRule = Callable[[Op, Program], tuple[Buffer, ...]]
FlopRule = Callable[[Op, Program, StepShape], float]
KVRule = Callable[[Op, Program, StepShape], float]


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One row of the table.

    Attributes:
        inputs: names of the input buffers.
        weights: names of the weights; those that end in "?" may be absent.
        params: names of the parameters, all required.
        infer: the output buffers, from the inputs; raises ProgramError where they do not fit.
        flops: FLOPs in a step.
        kv_bytes: bytes of KV cache read and written in a step.
    """

    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    params: tuple[str, ...]
    infer: ShapeRule
    flops: FlopRule
    kv_bytes: KVRule
