"""Rotary embedding as multiplication of complex numbers."""

from __future__ import annotations

import numpy as np
import pytest

from legato.models.arch import RopeConfig
from legato.program.program import OpKind
from op.programs import one_op_program
from op.steps import Part, make_step


def expected(x: np.ndarray, positions: np.ndarray, config: RopeConfig, heads: int) -> np.ndarray:
    pairs = len(config.frequencies)
    out = x.astype(np.float64).reshape(len(x), heads, -1).copy()
    # A backend forms the angle in f32, so the oracle does as well.
    angles = positions.astype(np.float32)[:, None] * np.float32(config.frequencies)
    turn = config.magnitude * np.exp(1j * angles.astype(np.float64))[:, None, :]
    real = np.arange(pairs) if config.style == "half" else 2 * np.arange(pairs)
    imaginary = real + (pairs if config.style == "half" else 1)
    rotated = (out[..., real] + 1j * out[..., imaginary]) * turn
    out[..., real], out[..., imaginary] = rotated.real, rotated.imag
    return out.reshape(x.shape)


@pytest.mark.parametrize("style", ["half", "interleaved"])
@pytest.mark.parametrize(("heads", "dim", "rotated"), [(1, 16, 16), (3, 64, 64), (4, 32, 8)])
@pytest.mark.parametrize("past", [0, 451])
def test_rope_rotates_pairs_by_position_times_frequency(
    make_backend, style, heads, dim, rotated, past
):
    frequencies = tuple(10_000 ** (-2 * i / rotated) for i in range(rotated // 2))
    config = RopeConfig(frequencies=frequencies, style=style, magnitude=1.25)
    width = heads * dim
    x = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    program, tensors = one_op_program(OpKind.ROPE, [x], params={"rope": config, "heads": heads})
    backend = make_backend(program, tensors)
    blocks = [list(range(32))]
    output = backend.run(make_step([Part(range(9), past, blocks)]))
    reference = expected(x[:9], np.arange(past, past + 9), config, heads)
    np.testing.assert_allclose(output.logits, reference, rtol=2e-5, atol=2e-5)


def test_elements_beyond_the_table_are_not_rotated(op_rows):
    config = RopeConfig(frequencies=(1.0, 0.5), style="half")
    x = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    actual = op_rows(one_op_program(OpKind.ROPE, [x], params={"rope": config, "heads": 1}), 8)
    np.testing.assert_array_equal(actual[:, 4:], x[:8, 4:])
    assert not np.allclose(actual[1:, :4], x[1:8, :4])
