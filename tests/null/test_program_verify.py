"""Each way to break a program, and the words that name it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legato.errors import ProgramError
from legato.program.program import Buffer, KVGroup, Program, WeightInfo
from legato.program.verify import verify
from legato.tensor import WeightFormat
from model.tiny import layers, tiny_program


@pytest.fixture
def program() -> Program:
    return tiny_program({"layers": layers(24, 24)})


def index_of(program: Program, name: str) -> int:
    return next(i for i, op in enumerate(program.ops) if op.name == name)


def changed(program: Program, name: str, /, **changes) -> Program:
    index = index_of(program, name)
    ops = list(program.ops)
    ops[index] = replace(ops[index], **changes)
    return replace(program, ops=tuple(ops))


def with_param(program: Program, name: str, key: str, value) -> Program:
    params = dict(program.ops[index_of(program, name)].params) | {key: value}
    return changed(program, name, params=tuple(params.items()))


def without(program: Program, name: str) -> Program:
    return replace(program, ops=tuple(op for op in program.ops if op.name != name))


def assert_fails(program: Program, *words: str) -> None:
    with pytest.raises(ProgramError) as failure:
        verify(program)
    for word in words:
        assert word in str(failure.value)


def test_a_built_program_is_accepted(program):
    verify(program)


def test_the_failing_op_is_named_by_index_kind_and_name(program):
    index = index_of(program, "layers.1.gate")
    assert_fails(
        changed(program, "layers.1.gate", inputs=("nowhere",)),
        f"op {index} linear 'layers.1.gate'",
        "'nowhere' is used before it is defined",
    )


def test_an_unknown_kind_is_named(program):
    assert_fails(changed(program, "layers.0.gate", kind="conv"), "conv", "unknown kind")


def test_a_use_before_its_definition_is_named(program):
    ops = list(program.ops)
    i = index_of(program, "layers.0.up")
    ops[i], ops[i + 1] = ops[i + 1], ops[i]
    assert_fails(replace(program, ops=tuple(ops)), "layers.0.activated", "before it is defined")


def test_a_second_definition_is_named(program):
    op = replace(program.ops[index_of(program, "layers.0.up")], name="again")
    i = index_of(program, "layers.0.up") + 1
    assert_fails(
        replace(program, ops=(*program.ops[:i], op, *program.ops[i:])), "again", "defined twice"
    )


def test_two_ops_of_one_name_are_refused(program):
    assert_fails(changed(program, "layers.0.up", name="layers.0.gate"), "another op has this name")


def test_wrong_numbers_of_operands_weights_and_outputs_are_counted(program):
    assert_fails(changed(program, "layers.0.attention_residual", inputs=("embed",)), "1 inputs")
    assert_fails(changed(program, "layers.0.up", weights=()), "0 weights", "weight")
    assert_fails(changed(program, "layers.0.up", outputs=()), "0 outputs, expected 1")


def test_an_op_without_a_result_cannot_have_an_output(program):
    spare = replace(program, buffers=program.buffers | {"kv": Buffer("kv", "tokens", 32)})
    assert_fails(changed(spare, "layers.0.kv_append", outputs=("kv",)), "layers.0.kv_append")


def test_missing_and_unknown_parameters_are_named(program):
    assert_fails(changed(program, "layers.0.q_rope", params=()), "parameters none", "rope, heads")
    assert_fails(with_param(program, "layers.0.up", "speed", 3), "parameters speed", "none")


@pytest.mark.parametrize(
    ("op", "param", "value"),
    [
        ("layers.0.attention", "num_heads", "four"),
        ("layers.0.attention", "num_heads", 3),
        ("layers.0.attention", "soft_cap", 0.0),
        ("layers.0.attention", "window", 0),
        ("layers.0.attention", "window", None),
        ("layers.0.attention", "scale", None),
        ("layers.0.attention", "layer", 9),
        ("layers.0.q_rope", "rope", 10_000.0),
        ("layers.0.q_rope", "heads", 8),
        ("layers.0.q_rope", "heads", 3),
        ("layers.0.attention_norm", "heads", 2),
        ("layers.0.attention_norm", "eps", "small"),
        ("layers.0.activated", "activation", "relu"),
    ],
)
def test_an_op_whose_parameter_makes_no_sense_is_named(program, op, param, value):
    assert_fails(with_param(program, op, param, value), op)


def test_an_unknown_weight_is_named(program):
    assert_fails(changed(program, "layers.0.up", weights=("w",)), "unknown weight 'w'")


def test_operands_that_do_not_fit_are_refused_with_their_sizes(program):
    assert_fails(changed(program, "layers.0.up", inputs=("layers.0.gate",)), "width 96", "[96, 64]")
    assert_fails(changed(program, "layers.0.up", weights=("layers.0.q.weight",)), "declared")
    wrong = ("embed", "layers.0.k")
    assert_fails(changed(program, "layers.0.attention_residual", inputs=wrong), "differ")
    keys = ("layers.0.q_rope", "layers.0.v")
    assert_fails(changed(program, "layers.0.kv_append", inputs=keys), "width 64", "32 elements")


def test_a_buffer_declared_unlike_its_op(program):
    buffers = program.buffers | {"layers.0.up": Buffer("layers.0.up", "tokens", 95)}
    assert_fails(replace(program, buffers=buffers), "layers.0.up", "95")


def test_rows_of_the_wrong_kind(program):
    assert_fails(changed(program, "final_norm", inputs=("layers.0.ffn_residual",)), "final_norm")
    assert_fails(changed(program, "sample", inputs=("layers.0.ffn_residual",)), "row per tokens")


def test_sample_must_be_last_and_alone(program):
    assert_fails(without(program, "sample"), "sample is at no index")
    assert_fails(replace(program, ops=(*program.ops, program.ops[0])), "another op has this name")
    second = replace(program.ops[-1], name="sample_again")
    assert_fails(replace(program, ops=(*program.ops, second)), "the last op")


def test_a_program_without_ops_is_refused(program):
    assert_fails(replace(program, ops=()), "sample")


def test_unused_buffers_and_weights(program):
    extra = Buffer("spare", "tokens", 4)
    assert_fails(replace(program, buffers=program.buffers | {"spare": extra}), "spare")
    weight = WeightInfo("spare.weight", (4, 4), WeightFormat.F32)
    assert_fails(replace(program, weights=program.weights | {"spare.weight": weight}), "spare")


def test_rows_of_a_weight_are_whole_blocks(program):
    weight = WeightInfo("layers.0.up.weight", (96, 64), WeightFormat.Q4_K)
    assert_fails(
        replace(program, weights=program.weights | {weight.name: weight}), weight.name, "256"
    )


def test_a_layer_appends_before_it_attends(program):
    assert_fails(without(program, "layers.1.kv_append"), "layers.1.attention", "before")


def test_a_layer_appends_once(program):
    assert_fails(with_param(program, "layers.1.kv_append", "layer", 0), "layer 0 appends", "twice")


def test_kv_groups_hold_each_layer_once_in_equal_numbers(program):
    def with_groups(*groups: KVGroup) -> Program:
        return replace(program, kv=replace(program.kv, groups=groups))

    assert_fails(with_groups(), "KV groups")
    assert_fails(with_groups(KVGroup((0, 1), 24), KVGroup((2,), 24)), "equal numbers")
    assert_fails(with_groups(KVGroup((0,), 24), KVGroup((0,), 24)), "more than one")
    assert_fails(with_groups(KVGroup((0, 1, 2), 24)), "[2]", "never append")


def test_an_embedding_of_another_vocabulary(program):
    table = WeightInfo("embed.weight", (32, 64), WeightFormat.F32)
    assert_fails(
        replace(program, weights=program.weights | {"embed.weight": table}), "op 0 embed", "32 rows"
    )
