"""The cost side of the op table, against counts made by hand."""

from __future__ import annotations

from math import prod

import pytest

from legato.program.build import build_program
from legato.program.ops import OPS, Cost, StepShape, op_cost, step_cost
from legato.program.program import OpKind, Program
from legato.tensor import WeightFormat
from model.tiny import VARIATIONS, layers, tiny_model, tiny_program

MIXED = StepShape(sequences=((1, 100), (1, 7), (30, 0), (16, 32)), outputs=3)


def cost_of(program: Program, kind: OpKind, shape: StepShape) -> Cost:
    ops = [op for op in program.ops if op.kind is kind]
    return sum((op_cost(op, program, shape) for op in ops), start=Cost())


def test_every_kind_of_op_is_in_the_table():
    assert set(OPS) == set(OpKind)


@pytest.mark.parametrize("overrides", VARIATIONS.values(), ids=VARIATIONS)
def test_every_op_has_a_finite_cost_that_is_not_negative(overrides):
    program = tiny_program(overrides)
    for op in program.ops:
        cost = op_cost(op, program, MIXED)
        assert min(cost.flops, cost.weight_bytes, cost.kv_bytes, cost.activation_bytes) >= 0


def test_linear_flops_are_two_per_parameter_and_row():
    program = tiny_program()
    matrices = [w for w in program.weights.values() if len(w.shape) == 2 and "embed" not in w.name]
    sampled = ("head", *(f"layers.1.{name}" for name in ("output", "gate", "up", "down")))
    late = sum(prod(w.shape) for w in matrices if w.name.startswith(sampled))
    body = sum(prod(w.shape) for w in matrices) - late
    expected = 2 * MIXED.tokens * body + 2 * MIXED.outputs * late
    assert cost_of(program, OpKind.LINEAR, MIXED).flops == expected


def test_attention_flops_are_four_per_head_element_and_pair_of_tokens():
    pairs = 101 + 8 + 30 * 30 + 16 * 48
    actual = cost_of(tiny_program(), OpKind.ATTENTION, MIXED).flops
    assert actual == 2 * 4 * 4 * 16 * pairs  # layers, 4, heads, head_dim


def test_a_window_bounds_what_attention_reads_and_computes():
    shape = StepShape(sequences=((1, 100), (8, 100), (4, 0)), outputs=1)
    program = tiny_program({"layers": layers(24)})
    cost = cost_of(program, OpKind.ATTENTION, shape)
    assert cost.flops == 4 * 4 * 16 * (24 + 8 * 24 + 4 * 4)
    assert cost.kv_bytes == (24 + 31 + 4) * 2 * 2 * 16 * 2


@pytest.mark.parametrize(
    ("kv_dtype", "vector_bytes"), [("f32", 64), ("f16", 32), ("bf16", 32), ("int8", 16 + 4)]
)
def test_kv_traffic_is_one_write_and_one_read_per_sequence(kv_dtype, vector_bytes):
    program = tiny_program(kv_dtype=kv_dtype)
    token = 2 * 2 * vector_bytes  # keys and values, heads
    assert cost_of(program, OpKind.KV_APPEND, MIXED).kv_bytes == 2 * MIXED.tokens * token
    cached = 101 + 8 + 30 + 48
    assert cost_of(program, OpKind.ATTENTION, MIXED).kv_bytes == 2 * cached * token


def test_weights_are_read_once_a_step_in_their_format():
    overrides = {"hidden_size": 256, "ffn_size": 256, "num_heads": 16}
    arch, weights = tiny_model(overrides, weight_format=WeightFormat.Q6_K)
    program = build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=256)
    body = sum(t.nbytes for name, t in weights.items() if name != "embed.weight")
    row = WeightFormat.Q6_K.row_bytes(256)
    assert step_cost(program, MIXED).weight_bytes == body + MIXED.tokens * row
    one = StepShape(sequences=((1, 0),), outputs=1)
    assert step_cost(program, one).weight_bytes == body + row


def test_a_step_without_outputs_reads_no_weights_after_the_last_attention():
    program = tiny_program()
    silent = StepShape(sequences=((16, 0),), outputs=0)
    spoken = StepShape(sequences=((16, 0),), outputs=1)
    difference = step_cost(program, spoken).weight_bytes - step_cost(program, silent).weight_bytes
    head, last_layer = 160 * 64 + 64, 64 * 64 + 3 * 96 * 64 + 64  # each with its norm
    assert difference == 4 * (head + last_layer)


def test_activation_traffic_counts_operands_and_result():
    program = tiny_program()
    add = next(op for op in program.ops if op.kind is OpKind.ADD)
    assert op_cost(add, program, MIXED).activation_bytes == 3 * 4 * 64 * MIXED.tokens
    take = next(op for op in program.ops if op.kind is OpKind.TAKE_ROWS)
    assert op_cost(take, program, MIXED).activation_bytes == 2 * 4 * 64 * MIXED.outputs


def test_elementwise_ops_are_a_sliver_of_a_real_models_flops():
    program = tiny_program({"hidden_size": 576, "ffn_size": 1536, "num_heads": 36})
    shape = StepShape(sequences=((1, 10),), outputs=1)
    model = sum(cost_of(program, kind, shape).flops for kind in (OpKind.LINEAR, OpKind.ATTENTION))
    assert model <= step_cost(program, shape).flops <= 1.01 * model
