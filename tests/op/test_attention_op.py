"""Paged attention against a loop over rows and heads in f64, and its bitwise invariances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from legato.backends.reference_kv import ReferenceKV
from legato.config import KVElement
from legato.program.program import Program
from legato.tensor import Tensor
from op.programs import BLOCK, attention_program, kv_layout
from op.steps import Part, make_step


@dataclass(frozen=True)
class AttentionCase:
    """Layers of random q, k, v; the op's output width is the vocabulary."""

    num_heads: int = 4
    kv_heads: int = 2
    dim: int = 16
    windows: Sequence[int | None] = (None,)
    soft_cap: float | None = None
    dtype: KVElement = "f32"
    sharpness: float = 1.0

    @property
    def vocab(self) -> int:
        return self.num_heads * self.dim

    def tables(self, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(layer)
        q = self.sharpness * rng.standard_normal((self.vocab, self.vocab))
        k, v = rng.standard_normal((2, self.vocab, self.kv_heads * self.dim))
        return q.astype(np.float32), k.astype(np.float32), v.astype(np.float32)

    def program(self) -> tuple[Program, dict[str, Tensor]]:
        kv = kv_layout(self.windows, self.kv_heads, self.dim, self.dtype)
        return attention_program(
            [self.tables(layer) for layer in range(len(self.windows))],
            kv,
            num_heads=self.num_heads,
            scale=self.dim**-0.5,
            soft_cap=self.soft_cap,
        )

    def stored(self, vectors: np.ndarray) -> np.ndarray:
        """Keys or values [tokens, kv_heads * dim] as the cache keeps them."""
        kv = kv_layout(self.windows, self.kv_heads, self.dim, self.dtype)
        pool, at = ReferenceKV(kv, num_blocks=-(-len(vectors) // BLOCK)), np.arange(len(vectors))
        place = at // BLOCK, 0, 0, at % BLOCK
        pool.write(*place, vectors.reshape(-1, self.kv_heads, self.dim))
        return pool.read(*place).reshape(vectors.shape).astype(np.float64)

    def expected(self, tokens: np.ndarray) -> np.ndarray:
        """Of the keys and values that the cache keeps: its own rounding is no error."""
        return sum(self._layer(i, w, tokens) for i, w in enumerate(self.windows))

    def _layer(self, layer: int, window: int | None, tokens: np.ndarray) -> np.ndarray:
        q, k, v = (table[tokens] for table in self.tables(layer))
        q, k, v = q.astype(np.float64), self.stored(k), self.stored(v)
        out = np.empty_like(q)
        for p in range(len(tokens)):
            first = 0 if window is None else max(0, p - window + 1)
            for head in range(self.num_heads):
                kv_head = head * self.kv_heads // self.num_heads
                mine = slice(head * self.dim, (head + 1) * self.dim)
                shared = slice(kv_head * self.dim, (kv_head + 1) * self.dim)
                scores = k[first : p + 1, shared] @ q[p, mine] * self.dim**-0.5
                if self.soft_cap is not None:
                    scores = self.soft_cap * np.tanh(scores / self.soft_cap)
                weights = np.exp(scores - scores.max())
                out[p, mine] = weights @ v[first : p + 1, shared] / weights.sum()
        return out


CASES = {
    "multi-head": AttentionCase(num_heads=2, kv_heads=2),
    "three to one": AttentionCase(num_heads=9, kv_heads=3, dim=64),
    "four to one": AttentionCase(num_heads=4, kv_heads=1, dim=32),
    "wide heads": AttentionCase(num_heads=2, kv_heads=1, dim=256),
    "head size 80": AttentionCase(num_heads=2, kv_heads=2, dim=80),
    "window of a token": AttentionCase(windows=(1,)),
    "window within a block": AttentionCase(windows=(7,)),
    "window over blocks": AttentionCase(windows=(40,)),
    "soft cap": AttentionCase(soft_cap=2.0, sharpness=4.0),
    "sharp": AttentionCase(sharpness=60.0),
    "two groups": AttentionCase(windows=(20, None)),
    "three groups of two": AttentionCase(windows=(20, 20, None, 20, 20, None)),
    "f16 cache": AttentionCase(dtype="f16"),
    "bf16 cache": AttentionCase(dtype="bf16"),
    "int8 cache": AttentionCase(dtype="int8"),
    "bf16 cache, head size 7": AttentionCase(num_heads=2, kv_heads=1, dim=7, dtype="bf16"),
    "int8 cache, head size 80": AttentionCase(num_heads=2, kv_heads=2, dim=80, dtype="int8"),
    "int8 cache, window": AttentionCase(windows=(20, None), soft_cap=5.0, dtype="int8"),
    "three to one, bf16 cache": AttentionCase(num_heads=9, kv_heads=3, dim=64, dtype="bf16"),
    "everything": AttentionCase(9, 3, 64, (33, None), 5.0, "f16", 3.0),
    "everything, bf16 cache": AttentionCase(9, 3, 64, (33, None), 5.0, "bf16", 3.0),
    "everything, int8 cache": AttentionCase(9, 3, 64, (33, None), 5.0, "int8", 3.0),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request) -> AttentionCase:
    return request.param


def random_tokens(case: AttentionCase, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, case.vocab, count)


def tables_for(program: Program, count: int, seed: int = 0) -> list[list[int]]:
    """Scrambled blocks for `count` tokens, different ones in each group."""
    groups, width = len(program.kv.groups), -(-count // program.kv.block_size)
    blocks = np.random.default_rng(seed).permutation(128)[: groups * width]
    return blocks.reshape(groups, width).tolist()


def in_chunks(backend, tokens: np.ndarray, tables, sizes: Sequence[int]) -> np.ndarray:
    """Logits of all tokens, fed in steps of the given sizes."""
    ends = np.cumsum(sizes)
    assert ends[-1] == len(tokens)
    parts = [
        Part(tokens[end - size : end], int(end - size), tables)
        for end, size in zip(ends, sizes, strict=True)
    ]
    return np.concatenate([backend.run(make_step([part])).logits for part in parts])


def tolerance_of(case: AttentionCase) -> float:
    """How far kernels may be from f64 arithmetic on the same cached keys and values.

    f32 sums give 1e-5. Rounding each query and weight by a relative error u moves a score by at
    most u · scale · Σ|q k|, about 2 u sharpness · sqrt(dim) for these normal operands, and a result
    by as much times a value: u is 2⁻⁸ in bf16. Whole numbers of 16 bits round by 2⁻¹⁶ of the
    largest instead. As the errors of the terms are independent, a quarter of the bound is asked.
    """
    bound = 2 * case.sharpness * case.dim**0.5 / 4 * len(case.windows)
    return {"f32": 1e-5, "f16": 1e-5, "bf16": 2**-8 * bound, "int8": 2**-16 * 16 * bound}[
        case.dtype
    ]


def test_attention_is_the_softmax_average_of_cached_values(make_backend, case):
    program, tensors = case.program()
    tokens = random_tokens(case, 70)
    actual = in_chunks(make_backend(program, tensors), tokens, tables_for(program, 70), [70])
    tolerance = tolerance_of(case)
    np.testing.assert_allclose(actual, case.expected(tokens), rtol=tolerance, atol=tolerance)


def test_chunked_prefill_and_decode_give_the_same_bits(make_backend, case):
    program, tensors = case.program()
    tokens = random_tokens(case, 70)
    whole, chunked, single = (
        in_chunks(make_backend(program, tensors), tokens, tables_for(program, 70, seed), sizes)
        for seed, sizes in enumerate(([70], [1, 16, 31, 22], [1] * 70))
    )
    np.testing.assert_array_equal(chunked, whole)
    np.testing.assert_array_equal(single, whole)


def test_neighbours_in_the_batch_change_no_bit(make_backend, case):
    """A decode row, a chunk in mid-prompt and a fresh prompt, together and each alone."""
    program, tensors = case.program()
    lengths, pasts = (34, 50, 12), (33, 20, 0)
    prompts = [random_tokens(case, count, seed) for seed, count in enumerate(lengths)]
    every = np.array(tables_for(program, 16 * 12)).reshape(len(program.kv.groups), 3, 4)

    together, alone = make_backend(program, tensors), make_backend(program, tensors)
    for backend in (together, alone):
        for s, past in enumerate(pasts):
            if past:
                backend.run(make_step([Part(prompts[s][:past], 0, every[:, s].tolist())]))
    parts = [
        Part(prompt[past:], past, every[:, s].tolist())
        for s, (prompt, past) in enumerate(zip(prompts, pasts, strict=True))
    ]
    batch = together.run(make_step(parts)).logits
    separate = np.concatenate([alone.run(make_step([part])).logits for part in parts])
    np.testing.assert_array_equal(batch, separate)


@pytest.mark.parametrize("windows", [(None,), (40,)])
def test_threads_change_no_bit(make_backend, windows):
    case = AttentionCase(windows=windows)
    program, tensors = case.program()
    tokens = random_tokens(case, 200)
    one, two = (
        in_chunks(
            make_backend(program, tensors, num_threads=threads),
            tokens,
            tables_for(program, 200),
            [150, 50],
        )
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_a_long_context_is_exact(make_backend):
    case = AttentionCase(num_heads=3, kv_heads=1, dim=32)
    program, tensors = case.program()
    tokens = random_tokens(case, 500)
    actual = in_chunks(
        make_backend(program, tensors), tokens, tables_for(program, 500), [300, 199, 1]
    )
    np.testing.assert_allclose(actual, case.expected(tokens), rtol=1e-5, atol=1e-5)


def test_blocks_behind_the_window_are_not_needed(make_backend):
    case = AttentionCase(windows=(20,))
    program, tensors = case.program()
    backend = make_backend(program, tensors)
    tokens = random_tokens(case, 70)
    table = tables_for(program, 70)[0]
    in_chunks(backend, tokens[:64], [table], [64])
    moved_past = [-1, -1, *table[2:]]  # row 64 sees positions 45 on
    actual = backend.run(make_step([Part(tokens[64:], 64, [moved_past])])).logits
    expected = case.expected(tokens)[64:]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_sequences_share_prefix_blocks(make_backend):
    case = AttentionCase()
    program, tensors = case.program()
    backend = make_backend(program, tensors)
    prompt, (left, right) = random_tokens(case, 32), random_tokens(case, 2, seed=1)
    backend.run(make_step([Part(prompt, 0, [[5, 9]])]))
    forks = [Part([left], 32, [[5, 9, 1]]), Part([right], 32, [[5, 9, 2]])]
    actual = backend.run(make_step(forks)).logits
    for row, token in zip(actual, (left, right), strict=True):
        expected = case.expected(np.append(prompt, token))[-1]
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)


def test_copied_blocks_hold_the_same_keys_and_values(make_backend, case):
    program, tensors = case.program()
    backend = make_backend(program, tensors)
    tokens = random_tokens(case, 30)
    tables = tables_for(program, 32)
    used = [block for table in tables for block in table]
    free = [block for block in range(128) if block not in used][: len(used)]
    copies = np.array(free).reshape(len(tables), -1).tolist()
    in_chunks(backend, tokens[:29], tables, [29])
    backend.copy_blocks(used, free)
    original = backend.run(make_step([Part(tokens[29:], 29, tables)])).logits
    copied = backend.run(make_step([Part(tokens[29:], 29, copies)])).logits
    np.testing.assert_array_equal(copied, original)
