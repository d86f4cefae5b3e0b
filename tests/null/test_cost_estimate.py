"""Predictions follow the op table and the profile, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legato.cost.estimate import ProgramWork, StepCost, step_work
from legato.cost.machine import LinearPoint, MachineProfile
from legato.program.ops import StepShape, attended_pairs, op_cost, step_cost, weight_bytes
from legato.program.program import OpKind
from model.tiny import VARIATIONS, layers, tiny_program

ATTENTION = OpKind.ATTENTION
NOTHING = MachineProfile(
    bandwidth=1.0,
    int8_macs=1.0,
    op_ns=0.0,
    weight_ns_per_byte=0.0,
    token_rows=(LinearPoint(1, 0.0),),
    output_rows=(LinearPoint(1, 0.0),),
    attention_ns_per_flop=0.0,
    kv_ns_per_byte=0.0,
)


@pytest.mark.parametrize("window", [None, 1, 5, 16, 40])
def test_attended_pairs_are_those_of_a_causal_mask(window):
    for rows in (1, 2, 7, 30):
        for past in (0, 1, 4, 5, 6, 39, 40, 41):
            seen = [min(p + 1, window or p + 1) for p in range(past, past + rows)]
            assert attended_pairs(rows, past, window) == sum(seen)


@pytest.mark.parametrize("overrides", VARIATIONS.values(), ids=VARIATIONS)
def test_decodes_do_the_attention_and_read_the_weights_that_the_op_table_says(overrides):
    program = tiny_program(overrides)
    shape = StepShape(((1, 3), (1, 100), (1, 30)), 3)
    work, table = step_work(ProgramWork.of(program), shape), step_cost(program, shape)
    names = {name for op in program.ops if op.kind is OpKind.LINEAR for name in op.weights}
    assert work.weight_bytes == sum(weight_bytes(program.weights[name]) for name in names)
    embedded = 3 * ProgramWork.of(program).token_bytes - 3 * _written_by_one_token(program)
    assert work.kv_bytes == table.kv_bytes + embedded
    attention = [op_cost(op, program, shape).flops for op in program.ops if op.kind is ATTENTION]
    assert work.attention_flops == sum(attention)


def _written_by_one_token(program) -> float:
    kv = program.kv
    layers_of_all = kv.layers_per_block * len(kv.groups)
    return layers_of_all * kv.token_bytes


def test_a_window_bounds_what_attention_does():
    near, far = StepShape(((1, 24),), 1), StepShape(((1, 200),), 1)
    windowed = ProgramWork.of(tiny_program({"layers": layers(16, 16)}))
    full = ProgramWork.of(tiny_program({"layers": layers(None, None)}))
    assert step_work(windowed, near) == step_work(windowed, far)
    assert step_work(full, near).attention_flops < step_work(full, far).attention_flops


def test_each_coefficient_charges_its_own_amount():
    program = tiny_program()
    shape = StepShape(((1, 10), (20, 5)), 2)
    work = ProgramWork.of(program)
    step = step_work(work, shape)
    points = (LinearPoint(1, 1.0),)
    amounts = {
        "op_ns": (1.0, len(program.ops)),
        "weight_ns_per_byte": (1.0, step.weight_bytes),
        "attention_ns_per_flop": (1.0, step.attention_flops),
        "kv_ns_per_byte": (1.0, step.kv_bytes),
        "token_rows": (points, 21 * work.tokens.weights),
        "output_rows": (points, 2 * work.outputs.weights),
    }
    for name, (coefficient, amount) in amounts.items():
        cost = StepCost(program, replace(NOTHING, **{name: coefficient}))
        assert cost.predict_ns(shape) == round(amount), name


def test_rows_are_interpolated_between_points_and_extrapolated_beyond():
    program = tiny_program()
    points = (LinearPoint(2, 2.0), LinearPoint(4, 10.0))
    cost = StepCost(program, replace(NOTHING, token_rows=points))
    weights = cost.work.tokens.weights
    times = [cost.predict_ns(StepShape(((rows, 0),), 0)) / weights for rows in (1, 2, 3, 4, 6)]
    assert times == [1.0, 2.0, 6.0, 10.0, 18.0]


def test_no_step_is_free():
    assert StepCost(tiny_program(), NOTHING).predict_ns(StepShape(((1, 0),), 1)) == 1


def test_a_profile_survives_json():
    profile = replace(NOTHING, op_ns=0.1, token_rows=(LinearPoint(1, 0.3), LinearPoint(9, 1 / 3)))
    assert MachineProfile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        NOTHING.to_json().replace('"version": 1', '"version": 0'),
        NOTHING.to_json().replace('"op_ns": 0.0', '"op_ns": -1.0'),
        NOTHING.to_json().replace('"op_ns": 0.0', '"op_ns": NaN'),
        NOTHING.to_json().replace('"op_ns": 0.0, ', ""),
        NOTHING.to_json().replace('"rows": 1', '"rows": 0'),
    ],
)
def test_what_is_not_a_profile_is_refused(text):
    with pytest.raises(ValueError):
        MachineProfile.from_json(text)
