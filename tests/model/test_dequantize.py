"""Every block format equals ggml's definition to the bit; the gguf package is the oracle."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from legato.dequantize import dequantize
from legato.tensor import Tensor, WeightFormat

ROWS, COLUMNS = 7, 512
SCALE_BYTES = {  # where the f16 scales lie in a block
    WeightFormat.Q4_0: (0,),
    WeightFormat.Q4_1: (0, 2),
    WeightFormat.Q5_0: (0,),
    WeightFormat.Q5_1: (0, 2),
    WeightFormat.Q8_0: (0,),
    WeightFormat.Q4_K: (0, 2),
    WeightFormat.Q5_K: (0, 2),
    WeightFormat.Q6_K: (208,),
}


def random_tensor(weight_format: WeightFormat, rows: int = ROWS) -> Tensor:
    """Random bytes in every field, with finite scales."""
    rng = np.random.default_rng(sum(map(ord, weight_format.label)))
    count = rows * COLUMNS // weight_format.block
    data = rng.integers(0, 256, (count, weight_format.block_bytes), dtype=np.uint8)
    for start in SCALE_BYTES.get(weight_format, ()):
        scales = rng.normal(0, 0.1, (count, 1)).astype(np.float16)
        data[:, start : start + 2] = scales.view(np.uint8)
    if weight_format.block == 1:
        values = rng.normal(0, 1, count).astype(np.float32)
        data = gguf.quants.quantize(values, gguf.GGMLQuantizationType[weight_format.name])
    return Tensor("w", (rows, COLUMNS), weight_format, data.view(np.uint8).reshape(-1))


def oracle(tensor: Tensor) -> np.ndarray:
    kind = gguf.GGMLQuantizationType[tensor.format.name]
    rows = tensor.data.reshape(tensor.shape[0], -1)
    if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
        rows = rows.view(kind.name.replace("F", "<f").replace("32", "4").replace("16", "2"))
    return gguf.quants.dequantize(rows, kind).reshape(tensor.shape)


@pytest.mark.parametrize("weight_format", WeightFormat)
def test_equals_ggml_to_the_bit(weight_format):
    tensor = random_tensor(weight_format)
    values = dequantize(tensor)
    assert values.dtype == np.float32
    assert values.shape == (ROWS, COLUMNS)
    np.testing.assert_array_equal(values.view(np.uint32), oracle(tensor).view(np.uint32))


def test_large_tensors_are_taken_in_parts_without_a_seam():
    tensor = random_tensor(WeightFormat.Q8_0, rows=1100)  # 17,600 blocks
    np.testing.assert_array_equal(dequantize(tensor), oracle(tensor))


def test_a_vector_keeps_its_shape():
    data = np.arange(8, dtype=np.float32).view(np.uint8)
    values = dequantize(Tensor("norm", (8,), WeightFormat.F32, data))
    np.testing.assert_array_equal(values, np.arange(8, dtype=np.float32))


def test_infinite_scales_pass_through_without_a_warning():
    data = np.zeros(18, np.uint8)
    data[:2] = np.array([np.inf], np.float16).view(np.uint8)
    data[2:] = 0x88  # quant 8 stands for 0, and inf * 0 is NaN
    assert np.isnan(dequantize(Tensor("w", (1, 32), WeightFormat.Q4_0, data))).all()
