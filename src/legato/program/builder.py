"""Adds ops one by one; the op table gives each one's output buffer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from legato.errors import ProgramError
from legato.program.ops import OPS
from legato.program.program import KVLayout, Op, OpKind, ParamValue, Program, WeightInfo
from legato.program.verify import verify
from legato.tensor import Tensor


class ProgramBuilder:
    """A program in the making. The output buffer of an op has the op's name."""

    def __init__(
        self, weights: Mapping[str, Tensor], *, kv: KVLayout, vocab_size: int, max_context: int
    ) -> None:
        self._tensors = weights
        self._ops: list[Op] = []
        self._draft = Program((), {}, {}, kv, vocab_size, max_context)

    def add(
        self,
        kind: OpKind,
        name: str,
        *inputs: str,
        weights: tuple[str, ...] = (),
        **params: ParamValue,
    ) -> str:
        """Append an op and return the name of its output buffer ("" where it has none).

        Raises ProgramError where a weight is missing or the operands do not fit.
        """
        for weight in weights:
            self._use_weight(weight)
        op = Op(kind, name, inputs, (name,), weights, tuple(params.items()))
        try:
            outputs = OPS[kind].infer(op, self._draft)
        except ProgramError as error:
            raise ProgramError(f"op {len(self._ops)} {kind} {name!r}: {error}") from error
        self._draft.buffers.update({buffer.name: buffer for buffer in outputs})
        self._ops.append(replace(op, outputs=tuple(buffer.name for buffer in outputs)))
        return name if outputs else ""

    def finish(self, *, partial: bool = False) -> Program:
        """The verified program; a `partial` one may leave layers out."""
        program = replace(self._draft, ops=tuple(self._ops))
        verify(program, partial=partial)
        return program

    def _use_weight(self, name: str) -> None:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ProgramError(f"the model has no weight {name!r}, which its architecture needs")
        self._draft.weights[name] = WeightInfo(name, tensor.shape, tensor.format)
