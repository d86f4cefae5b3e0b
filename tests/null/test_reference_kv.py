"""The element types of the reference KV pool."""

from __future__ import annotations

import numpy as np
import pytest

from legato.backends.reference_kv import ReferenceKV, quantise, to_bf16
from legato.program.kv import group_layers
from legato.program.program import KVLayout

BLOCKS, SLOTS = np.array([1, 1, 0]), np.array([0, 15, 3])


def make_pool(dtype) -> ReferenceKV:
    return ReferenceKV(KVLayout(group_layers([None]), 16, 2, 8, dtype), num_blocks=3)


def some_vectors() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((3, 2, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "error"), [("f32", 0.0), ("f16", 2**-11), ("bf16", 2**-8), ("int8", 1 / 253)]
)
def test_what_is_read_is_what_was_written_but_for_the_rounding_of_its_type(dtype, error):
    pool, vectors = make_pool(dtype), some_vectors()
    pool.write(BLOCKS, 0, 1, SLOTS, vectors)
    bound = error * np.abs(vectors).max(axis=-1, keepdims=True)
    assert (np.abs(pool.read(BLOCKS, 0, 1, SLOTS) - vectors) <= bound).all()


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "int8"])
def test_a_copied_block_reads_the_same(dtype):
    pool, vectors = make_pool(dtype), some_vectors()
    pool.write(BLOCKS, 0, 0, SLOTS, vectors)
    pool.copy([1], [2])
    np.testing.assert_array_equal(
        pool.read(BLOCKS[:2] + 1, 0, 0, SLOTS[:2]), pool.read(BLOCKS[:2], 0, 0, SLOTS[:2])
    )


def test_int8_uses_all_levels_of_each_vector():
    elements, scales = quantise(np.array([[1, -2, 0.5], [100, 0, -1]], np.float32))
    np.testing.assert_array_equal(elements, [[64, -127, 32], [127, 0, -1]])
    np.testing.assert_allclose(scales, [2 / 127, 100 / 127], rtol=1e-6)


def test_int8_of_zeros_is_zeros():
    elements, scales = quantise(np.zeros((2, 4), np.float32))
    assert not elements.any()
    assert not scales.any()


def test_bf16_rounds_to_nearest_even_and_keeps_nan():
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -1, np.nan, np.inf], np.float32)
    bits = [0x3F80, 0x3F80, 0x3F82, 0xBF80, 0x7FC0, 0x7F80]
    np.testing.assert_array_equal(to_bf16(values), bits)
