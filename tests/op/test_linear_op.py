"""x Wᵀ + b in every weight format, at every small number of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from legato.config import Precision
from legato.dequantize import dequantize
from legato.program.program import OpKind, Program
from legato.tensor import Tensor, WeightFormat
from model.tiny import f32_tensor, random_matrix
from op.programs import one_op_program
from op.steps import Part, make_step

FLOAT_FORMATS = {WeightFormat.F32, WeightFormat.F16, WeightFormat.BF16}
# A backend may quantise activations for weights in blocks; worst row of a few dozen.
BLOCK_TOLERANCE: Mapping[Precision, float] = {"fast": 4e-2, "balanced": 2e-2, "exact": 3e-4}
ROW_COUNTS = [*range(1, 18), 40]


class LinearCase:
    """Random activations [out, columns] (row t is token t's) and weights [out, columns]."""

    def __init__(
        self, weight_format: WeightFormat, out: int, columns: int, *, bias: bool = False
    ) -> None:
        rng = np.random.default_rng(out * columns)
        # Rows of different sizes with a few outliers, as activations have.
        self.x = rng.standard_normal((out, columns)).astype(np.float32)
        self.x *= rng.uniform(0.1, 10, (out, 1)).astype(np.float32)
        self.x[:, ::37] *= 8
        self.weights = [random_matrix("matrix.weight", (out, columns), weight_format, rng)]
        if bias:
            self.weights.append(f32_tensor("matrix.bias", rng.standard_normal(out)))
        self.in_blocks = weight_format not in FLOAT_FORMATS

    def program(self) -> tuple[Program, dict[str, Tensor]]:
        return one_op_program(OpKind.LINEAR, [self.x], weights=self.weights)

    def expected(self) -> np.ndarray:
        matrix, *bias = (dequantize(weight).astype(np.float64) for weight in self.weights)
        return self.x @ matrix.T + (bias[0] if bias else 0)

    def assert_near(
        self, actual: np.ndarray, tokens: np.ndarray, precision: Precision = "balanced"
    ) -> None:
        """The error of every row, relative to its norm, is what the precision allows."""
        expected = self.expected()[tokens]
        error = np.linalg.norm(actual - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert error.max() <= (BLOCK_TOLERANCE[precision] if self.in_blocks else 1e-5)


def logits(backend, tokens) -> np.ndarray:
    blocks = list(range(-(-len(tokens) // 16)))
    return backend.run(make_step([Part(tokens, 0, [blocks])])).logits


@pytest.mark.parametrize("weight_format", WeightFormat, ids=lambda f: f.label)
@pytest.mark.parametrize("precision", BLOCK_TOLERANCE)
@pytest.mark.parametrize(("out", "columns"), [(48, 256), (80, 768)])
def test_linear_multiplies_in_every_format(make_backend, weight_format, precision, out, columns):
    case = LinearCase(weight_format, out, columns)
    tokens = np.arange(out)
    backend = make_backend(*case.program(), precision=precision)
    case.assert_near(logits(backend, tokens), tokens, precision)


@pytest.mark.parametrize("precision", BLOCK_TOLERANCE)
@pytest.mark.parametrize("weight_format", WeightFormat, ids=lambda f: f.label)
def test_a_row_is_bit_equal_at_any_number_of_rows(make_backend, weight_format, precision):
    case = LinearCase(weight_format, 64, 256)
    backend = make_backend(*case.program(), precision=precision)
    whole = logits(backend, np.arange(64))
    for count in ROW_COUNTS:
        tokens = (np.arange(count) * 5 + count) % 64
        apart = [Part([token], int(token), [[0, 1, 2, 3]]) for token in tokens]
        actual = backend.run(make_step(apart)).logits
        np.testing.assert_array_equal(actual, whole[tokens], f"{count} rows")


@pytest.mark.parametrize("weight_format", [WeightFormat.F32, WeightFormat.Q4_1, WeightFormat.Q8_0])
@pytest.mark.parametrize("columns", [32, 96, 576])
@pytest.mark.parametrize("out", [16, 33, 100])
def test_shapes_that_are_no_multiple_of_a_tile(make_backend, weight_format, out, columns):
    case = LinearCase(weight_format, out, columns, bias=True)
    tokens = np.arange(out)
    case.assert_near(logits(make_backend(*case.program()), tokens), tokens)


def test_the_bias_is_added(make_backend):
    case = LinearCase(WeightFormat.Q4_0, 32, 64, bias=True)
    case.x[:] = 0
    actual = logits(make_backend(*case.program()), [3])
    np.testing.assert_array_equal(actual[0], dequantize(case.weights[1]))


def test_threads_do_not_change_a_bit(make_backend):
    case = LinearCase(WeightFormat.Q4_1, 96, 320)
    one, two = (make_backend(*case.program(), num_threads=threads) for threads in (1, 2))
    tokens = np.arange(23)
    np.testing.assert_array_equal(logits(one, tokens), logits(two, tokens))
