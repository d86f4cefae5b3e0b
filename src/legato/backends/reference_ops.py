"""What each op means: one small function per kind, its body the mathematics.

x: [rows, width] f32 throughout. Functions that touch the cache return None or read it from
`State.kv` (see reference_kv.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from legato.backends.base import F32, I32, StepInput
from legato.backends.reference_kv import ReferenceKV
from legato.models.arch import RopeConfig
from legato.program.kv import layer_location
from legato.program.program import Op, OpKind, Program

# BLAS rounds differently for other numbers of rows, and for other places among them. So every
# product has this many rows, and a row's place among them comes from its position in its sequence.
TILE_ROWS = 32

GELU_SLOPE = math.sqrt(2 / math.pi)


@dataclass(frozen=True, slots=True)
class State:
    """What ops see besides their operands."""

    program: Program
    weights: Mapping[str, F32]
    kv: ReferenceKV
    step: StepInput


def embed(state: State, op: Op) -> F32:
    """Rows of the table: x_t = W[token_t]."""
    rows: F32 = state.weights[op.weights[0]][state.step.token_ids]
    return rows


def scale(state: State, op: Op, x: F32) -> F32:
    """factor · x."""
    result: F32 = x * op.number("factor")
    return result


def rms_norm(state: State, op: Op, x: F32) -> F32:
    """x / sqrt(mean(x²) + eps) · (w + offset), over the row or each head (Zhang, Sennrich 2019)."""
    weight = state.weights[op.weights[0]] + np.float32(op.number("weight_offset"))
    heads = max(op.integer("heads"), 1)
    spans = x.reshape(len(x), heads, x.shape[1] // heads)  # a step may have no output rows
    mean_square = np.mean(spans * spans, axis=-1, keepdims=True)
    normed: F32 = spans / np.sqrt(mean_square + np.float32(op.number("eps"))) * weight
    return normed.reshape(x.shape)


def linear(state: State, op: Op, x: F32) -> F32:
    """x Wᵀ + b."""
    weight, *bias = (state.weights[name] for name in op.weights)
    tiles, slots = _tile_places(_positions(state, op))
    padded = np.zeros((max(tiles, default=-1) + 1, TILE_ROWS, x.shape[1]), np.float32)
    padded[tiles, slots] = x
    out: F32 = np.matmul(padded, weight.T)[tiles, slots]
    return out + bias[0] if bias else out


def rope(state: State, op: Op, x: F32) -> F32:
    """Rotate pair i of each head by position · frequency_i (Su et al. 2021, equation 34)."""
    config = op.param("rope")
    assert isinstance(config, RopeConfig)
    pairs = len(config.frequencies)
    frequencies = np.array(config.frequencies, np.float32)
    angles = state.step.positions.astype(np.float32)[:, None, None] * frequencies
    cos, sin = np.cos(angles) * config.magnitude, np.sin(angles) * config.magnitude
    out = x.reshape(len(x), op.integer("heads"), -1).copy()
    if config.style == "half":
        first, second = out[..., :pairs], out[..., pairs : 2 * pairs]
    else:
        first, second = out[..., 0 : 2 * pairs : 2], out[..., 1 : 2 * pairs : 2]
    rotated = first * cos - second * sin, second * cos + first * sin
    first[:], second[:] = rotated
    return out.reshape(x.shape)


def kv_append(state: State, op: Op, k: F32, v: F32) -> None:
    """Write each row's keys and values at its position, into the blocks of its sequence."""
    group, layer = layer_location(state.program.kv, op.integer("layer"))
    for sequence, rows in sequences(state.step):
        blocks, slots = _places(state, group, sequence, state.step.positions[rows])
        for which, vectors in enumerate((k, v)):
            shape = (-1, state.program.kv.num_kv_heads, state.program.kv.head_dim)
            state.kv.write(blocks, layer, which, slots, vectors[rows].reshape(shape))


def attention(state: State, op: Op, q: F32) -> F32:
    """softmax(cap(scale · q kᵀ)) v, each row over the cached positions up to its own.

    A window keeps the last `window` positions, the row's own included. Query heads share KV heads
    in consecutive runs of num_heads / num_kv_heads.
    """
    window = op.param("window")
    span = window if isinstance(window, int) else state.program.max_context
    heads = q.reshape(len(q), state.program.kv.num_kv_heads, -1, state.program.kv.head_dim)
    out = np.empty_like(heads)
    for sequence, rows in sequences(state.step):
        positions = state.step.positions[rows]
        begin = max(0, int(positions[0]) - span + 1)
        keys, values = _cached(state, op, sequence, begin)
        for row, position in zip(range(rows.start, rows.stop), positions, strict=True):
            visible = slice(max(begin, position - span + 1) - begin, position + 1 - begin)
            out[row] = _attend(op, heads[row], keys[:, visible], values[:, visible])
    return out.reshape(q.shape)


def _attend(op: Op, q: F32, keys: F32, values: F32) -> F32:
    """One row: q [kv_heads, group, dim] over keys, values [kv_heads, tokens, dim]."""
    scores = np.float32(op.number("scale")) * (q @ keys.transpose(0, 2, 1))
    if op.param("soft_cap") is not None:
        scores = _soft_cap(scores, op.number("soft_cap"))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: F32 = weights @ values / weights.sum(axis=-1, keepdims=True)
    return result


def gated_activation(state: State, op: Op, gate: F32, up: F32) -> F32:
    """activation(gate) · up (Shazeer 2020)."""
    activation = {"silu": silu, "gelu_tanh": gelu_tanh}[str(op.param("activation"))]
    return activation(gate) * up


def silu(x: F32) -> F32:
    """x / (1 + exp(−x))."""
    with np.errstate(over="ignore"):  # exp(−x) = inf gives the right limit, zero
        result: F32 = x / (1 + np.exp(-x))
    return result


def gelu_tanh(x: F32) -> F32:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks, Gimpel 2016)."""
    result: F32 = 0.5 * x * (1 + np.tanh(GELU_SLOPE * (x + 0.044715 * x * x * x)))
    return result


def add(state: State, op: Op, a: F32, b: F32) -> F32:
    """a + b."""
    return a + b


def take_rows(state: State, op: Op, x: F32) -> F32:
    """The rows that are sampled."""
    return x[state.step.output_rows]


def soft_cap(state: State, op: Op, x: F32) -> F32:
    """cap · tanh(x / cap)."""
    return _soft_cap(x, op.number("cap"))


def _soft_cap(x: F32, cap: float) -> F32:
    result: F32 = cap * np.tanh(x / cap)
    return result


def sequences(step: StepInput) -> Iterator[tuple[int, slice]]:
    """Each sequence of the step with its rows."""
    starts = step.query_starts
    for sequence in range(len(starts) - 1):
        yield sequence, slice(int(starts[sequence]), int(starts[sequence + 1]))


def _positions(state: State, op: Op) -> I32:
    """Position in its sequence of each row of the op's input."""
    rows = state.program.buffers[op.inputs[0]].rows
    positions = state.step.positions
    return positions if rows == "tokens" else positions[state.step.output_rows]


def _tile_places(positions: I32) -> tuple[list[int], list[int]]:
    """Tile and slot of each row: its position gives the slot, rows of one slot take new tiles."""
    taken: Counter[int] = Counter()
    tiles, slots = [], (positions % TILE_ROWS).tolist()
    for slot in slots:
        tiles.append(taken[slot])
        taken[slot] += 1
    return tiles, slots


def _places(state: State, group: int, sequence: int, positions: I32) -> tuple[I32, I32]:
    """Block id and slot in the block of each position."""
    table = state.step.block_tables[group, sequence]
    return table[positions // state.program.kv.block_size], positions % state.program.kv.block_size


def _cached(state: State, op: Op, sequence: int, begin: int) -> tuple[F32, F32]:
    """Keys and values of positions from `begin` on, each [kv_heads, tokens, head_dim] f32."""
    group, layer = layer_location(state.program.kv, op.integer("layer"))
    positions = np.arange(begin, state.step.kv_lengths[sequence], dtype=np.int32)
    blocks, slots = _places(state, group, sequence, positions)
    keys, values = (
        np.ascontiguousarray(state.kv.read(blocks, layer, which, slots).transpose(1, 0, 2))
        for which in (0, 1)
    )
    return keys, values


FUNCTIONS: Mapping[OpKind, Callable[..., F32 | None]] = {
    OpKind.EMBED: embed,
    OpKind.SCALE: scale,
    OpKind.RMS_NORM: rms_norm,
    OpKind.LINEAR: linear,
    OpKind.ROPE: rope,
    OpKind.KV_APPEND: kv_append,
    OpKind.ATTENTION: attention,
    OpKind.GATED_ACTIVATION: gated_activation,
    OpKind.ADD: add,
    OpKind.TAKE_ROWS: take_rows,
    OpKind.SOFT_CAP: soft_cap,
}
