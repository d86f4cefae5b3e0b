from __future__ import annotations

import pytest

from legato.program.memory import lifetimes
from model.tiny import VARIATIONS, tiny_program


@pytest.mark.parametrize("overrides", VARIATIONS.values(), ids=VARIATIONS)
def test_a_buffer_lives_from_the_op_that_writes_it_to_the_last_that_reads_it(overrides):
    program = tiny_program(overrides)
    lives = lifetimes(program)
    assert lives.keys() == program.buffers.keys()
    for name, life in lives.items():
        uses = [i for i, op in enumerate(program.ops) if name in (*op.inputs, *op.outputs)]
        assert (life.first, life.last) == (uses[0], uses[-1])
        assert name in program.ops[life.first].outputs
