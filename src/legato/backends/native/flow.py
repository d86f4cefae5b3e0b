"""Who writes and who reads the buffers of a program: what has to be known before ops are fused."""

from __future__ import annotations

from collections.abc import Sequence

from legato.program.head import head_op
from legato.program.program import Op, OpKind, Program
from legato.tensor import WeightFormat

FLOAT_FORMATS = (WeightFormat.F32, WeightFormat.F16, WeightFormat.BF16)


class Flow:
    """Questions about one program.

    Attributes:
        hidden: the buffer that the head reads; None where another op makes logits.
        after_hidden: the buffers that the head and the ops after it write.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._readers = _readers(program)
        head = head_op(program)
        self.hidden = None if head is None else head.inputs[0]
        self.after_hidden = _written_from(program, head)

    def readers(self, name: str) -> list[Op]:
        """The ops that read buffer `name`, in order."""
        return self._readers[name]

    def writer(self, name: str) -> Op:
        """The op that writes buffer `name`."""
        return next(op for op in self._program.ops if name in op.outputs)

    def only_reader(self, op: Op, kind: OpKind) -> Op | None:
        """The one op that reads the output of `op`, if it is of that kind."""
        readers = self._readers[op.outputs[0]]
        return readers[0] if len(readers) == 1 and readers[0].kind is kind else None

    def is_normalised_by_readers(self, norm: Op) -> bool:
        """Whether those who read the output of `norm` can normalise it themselves.

        What the head reads is always written: a step may ask for it.
        """
        out = norm.outputs[0]
        linear = all(reader.kind is OpKind.LINEAR for reader in self._readers[out])
        return (linear and out != self.hidden) or self.only_reader(norm, OpKind.ROPE) is not None

    def gated_activation_of(self, group: Sequence[Op]) -> Op | None:
        """The activation of a gate and up pair whose one reader follows and reads int8 rows."""
        activations = [self.only_reader(op, OpKind.GATED_ACTIVATION) for op in group]
        first = activations[0]
        if first is None or len(group) != 2 or activations[1] is not first:
            return None
        readers = self._readers[first.outputs[0]]
        following = self._program.ops[self._program.ops.index(first) + 1]
        plain = all(self._is_block_format(op) and not op.weights[1:] for op in group)
        if plain and readers == [following] and following.kind is OpKind.LINEAR:
            return first if self._is_block_format(following) else None
        return None

    def _is_block_format(self, op: Op) -> bool:
        """The op's matrix is read against int8 rows."""
        return self._program.weights[op.weights[0]].format not in FLOAT_FORMATS


def _readers(program: Program) -> dict[str, list[Op]]:
    found: dict[str, list[Op]] = {name: [] for name in program.buffers}
    for op in program.ops:
        for name in dict.fromkeys(op.inputs):
            found[name].append(op)
    return found


def _written_from(program: Program, first: Op | None) -> set[str]:
    """The buffers that `first` and the ops after it write."""
    start = len(program.ops) if first is None else program.ops.index(first)
    return {name for op in program.ops[start:] for name in op.outputs}
