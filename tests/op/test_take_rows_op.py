from __future__ import annotations

import numpy as np
import pytest

from legato.program.program import OpKind
from op.programs import one_op_program
from op.steps import Part, make_step


@pytest.mark.parametrize("rows", [[6], [0, 3], [0, 1, 2, 3, 4, 5, 6]])
def test_only_the_rows_asked_for_come_back_in_order(make_backend, rows):
    x = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)
    program, tensors = one_op_program(OpKind.SCALE, [x], params={"factor": 1.0})
    step = make_step([Part(range(7), 0, [[0]])], outputs=rows)
    np.testing.assert_array_equal(make_backend(program, tensors).run(step).logits, x[rows])


def test_a_step_without_outputs_gives_no_logits_rows(make_backend):
    x = np.zeros((32, 32), np.float32)
    program, tensors = one_op_program(OpKind.SCALE, [x], params={"factor": 1.0})
    output = make_backend(program, tensors).run(make_step([Part([1, 2], 0, [[0]])], outputs=[]))
    assert output.logits is not None
    assert output.logits.shape == (0, 32)
    assert output.token_ids.shape == (0,)
