"""Ops without weights or with a vector: each against its formula in f64."""

from __future__ import annotations

import numpy as np
import pytest

from legato.dequantize import dequantize
from legato.program.program import OpKind
from legato.tensor import WeightFormat
from model.tiny import f32_tensor, random_matrix
from op.programs import embed_program, one_op_program

ROWS = 5


def table(width: int, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((width, width))).astype(np.float32)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("weight_format", WeightFormat)
def test_embed_gives_exactly_the_dequantised_rows(op_rows, weight_format):
    weights = random_matrix("table.weight", (256, 256), weight_format, np.random.default_rng(0))
    actual = op_rows(embed_program(weights), 40)
    np.testing.assert_array_equal(actual, dequantize(weights)[:40])


@pytest.mark.parametrize("width", [16, 48, 100])
def test_scale_multiplies(op_rows, width):
    x = table(width)
    actual = op_rows(one_op_program(OpKind.SCALE, [x], params={"factor": 25.25}), ROWS)
    assert_close(actual, x[:ROWS] * 25.25)


@pytest.mark.parametrize(("width", "heads"), [(16, 0), (96, 0), (640, 0), (96, 3), (96, 6)])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_rms_norm_over_the_row_or_each_head(op_rows, width, heads, offset):
    x, span = table(width), width // max(heads, 1)
    weight = np.random.default_rng(1).standard_normal(span).astype(np.float32)
    params = {"eps": 1e-2, "weight_offset": offset, "heads": heads}
    case = one_op_program(
        OpKind.RMS_NORM, [x], weights=[f32_tensor("norm.weight", weight)], params=params
    )
    spans = x[:ROWS].astype(np.float64).reshape(ROWS, -1, span)
    expected = spans / np.sqrt((spans**2).mean(-1, keepdims=True) + 1e-2) * (weight + offset)
    assert_close(op_rows(case, ROWS), expected.reshape(ROWS, width))


def test_rms_norm_of_zeros_is_zero(op_rows):
    weight = f32_tensor("norm.weight", np.ones(32))
    params = {"eps": 1e-6, "weight_offset": 0.0, "heads": 0}
    case = one_op_program(OpKind.RMS_NORM, [np.zeros((32, 32))], weights=[weight], params=params)
    np.testing.assert_array_equal(op_rows(case, 2), 0)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("function", [silu, gelu_tanh])
@pytest.mark.parametrize("width", [16, 100])
def test_a_gated_activation_is_its_definition(op_rows, function, width):
    gate, up = table(width, 0), table(width, 1)
    params = {"activation": function.__name__}
    actual = op_rows(one_op_program(OpKind.GATED_ACTIVATION, [gate, up], params=params), ROWS)
    assert_close(actual, function(gate[:ROWS].astype(np.float64)) * up[:ROWS])


@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
def test_gated_activation_far_from_zero(op_rows, activation):
    gate = np.full((16, 16), 200.0, np.float32) * np.where(np.arange(16) % 2, 1, -1)
    params = {"activation": activation}
    case = one_op_program(OpKind.GATED_ACTIVATION, [gate, np.ones((16, 16))], params=params)
    assert_close(op_rows(case, 1), np.maximum(gate[:1], 0))


@pytest.mark.parametrize("width", [16, 100])
def test_add_adds_row_by_row(op_rows, width):
    a, b = table(width, 0), table(width, 1)
    np.testing.assert_array_equal(
        op_rows(one_op_program(OpKind.ADD, [a, b]), ROWS), a[:ROWS] + b[:ROWS]
    )


@pytest.mark.parametrize("width", [16, 100])
def test_soft_cap_bounds_smoothly(op_rows, width):
    x = table(width, scale=40.0)
    actual = op_rows(one_op_program(OpKind.SOFT_CAP, [x], params={"cap": 30.0}), ROWS)
    assert_close(actual, 30 * np.tanh(x[:ROWS].astype(np.float64) / 30))
    assert np.abs(actual).max() <= 30
