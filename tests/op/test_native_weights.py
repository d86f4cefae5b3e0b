"""No value of a weight changes on its way into the kernels."""

from __future__ import annotations

import numpy as np
import pytest

from legato.dequantize import dequantize
from legato.tensor import WeightFormat
from model.tiny import random_matrix

runtime = pytest.importorskip("legato._native")
tables = pytest.importorskip("legato.backends.native.tables")


@pytest.mark.parametrize("rows", [1, 16, 35])
@pytest.mark.parametrize("weight_format", WeightFormat)
@pytest.mark.parametrize("way", ["repack", "dequantise"])
def test_weights_keep_every_bit(way, weight_format, rows):
    tensor = random_matrix("w", (rows, 512), weight_format, np.random.default_rng(rows))
    actual = getattr(runtime, way)(
        tables.FORMATS[weight_format], rows, 512, tensor.data.reshape(-1)
    )
    np.testing.assert_array_equal(actual.view(np.uint32), dequantize(tensor).view(np.uint32))


def test_every_half_precision_value_is_read_exactly():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)]
    actual = runtime.dequantise(runtime.Format.F16, 1, len(finite), finite.view(np.uint8))
    np.testing.assert_array_equal(
        actual[0].view(np.uint32), finite.astype(np.float32).view(np.uint32)
    )


def test_bytes_that_do_not_fit_the_shape_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        runtime.repack(runtime.Format.Q8_0, 2, 32, np.zeros(34, np.uint8))
