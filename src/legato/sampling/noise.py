"""Noise as a function: counter-based random bits and the Gumbel variates made of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_DOMAIN = 0x4C474154  # "LGAT": keeps these counters apart from any other use of a seed
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HIGH_SHIFT = np.uint64(32)


def philox4x32(counter: U32, key: tuple[int, int]) -> U32:
    """Philox4x32-10 (Salmon et al. 2011, section 3.3): counters [4, n] → random words [4, n]."""
    c0, c1, c2, c3 = counter.astype(np.uint64)
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


def gumbel(seed: int, sample_index: int, position: int, vocab_size: int) -> F32:
    """Standard Gumbel noise [vocab] of the token at `position` of sample `sample_index`.

    Token t takes lane t % 4 of the counter (t // 4, position, sample_index, domain) under the key
    (low, high 32 bits of seed); u = (top 24 bits + ½) · 2⁻²⁴ lies strictly inside (0, 1).
    """
    counter = np.empty((4, -(-vocab_size // 4)), np.uint32)
    counter[0] = np.arange(counter.shape[1])
    counter[1:] = np.array([[position], [sample_index], [_DOMAIN]])
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    bits = words.T.reshape(-1)[:vocab_size] >> np.uint32(8)
    # In f64, because in f32 the largest u would round to 1 and its noise to infinity.
    uniform = (bits + 0.5) * 2.0**-24
    noise: F64 = -np.log(-np.log(uniform))
    return noise.astype(np.float32)


def _multiply(a: np.uint64, b: U64) -> tuple[U64, U64]:
    """High and low 32 bits of the products."""
    product = a * b
    return product >> _HIGH_SHIFT, product & _LOW
