"""Where a program ends: the linear that turns hidden states into logits."""

from __future__ import annotations

from legato.program.program import Op, OpKind, Program


def head_op(program: Program) -> Op | None:
    """The linear whose output is sampled, soft-capped or not; None where another op makes logits.

    Its input is the hidden states that a step may ask for: f32 [outputs, dim], after the last norm.
    """
    writers = {name: op for op in program.ops for name in op.outputs}
    op = writers[program.ops[-1].inputs[0]]
    if op.kind is OpKind.SOFT_CAP:
        op = writers[op.inputs[0]]
    return op if op.kind is OpKind.LINEAR else None
