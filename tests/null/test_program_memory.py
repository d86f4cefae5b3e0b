from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.program.build import build_program
from legato.program.kv import group_layers
from legato.program.memory import ALIGNMENT, MemoryPlan, lifetimes, plan_memory
from legato.program.program import Buffer, KVLayout, Op, OpKind, Program
from model.tiny import VARIATIONS, tiny_model


def tiny_program(overrides=None) -> Program:
    arch, weights = tiny_model(overrides)
    return build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=256)


@st.composite
def programs(draw) -> Program:
    """Any dataflow: op i defines buffer i and reads some earlier ones. Only lifetimes matter."""
    count = draw(st.integers(1, 30))
    ops, buffers = [], {}
    for i in range(count):
        sources = draw(st.lists(st.integers(0, max(0, i - 1)), max_size=2, unique=True))
        inputs = tuple(f"b{n}" for n in sources) if i else ()
        ops.append(Op(OpKind.ADD, f"b{i}", inputs, (f"b{i}",)))
        rows = draw(st.sampled_from(["tokens", "outputs"]))
        buffers[f"b{i}"] = Buffer(f"b{i}", rows, draw(st.integers(1, 100)))
    kv = KVLayout(group_layers([None]), 16, 1, 16, 4)
    return Program(tuple(ops), buffers, {}, kv, 100, 100)


def sizes(program: Program, max_tokens: int, max_outputs: int) -> dict[str, int]:
    rows = {"tokens": max_tokens, "outputs": max_outputs}
    return {name: 4 * rows[b.rows] * b.width for name, b in program.buffers.items()}


def assert_sound(program: Program, plan: MemoryPlan, size: dict[str, int]) -> None:
    lives = lifetimes(program)
    for a, b in combinations(program.buffers, 2):
        apart_in_time = lives[a].last < lives[b].first or lives[b].last < lives[a].first
        apart_in_space = (
            plan.offsets[a] + size[a] <= plan.offsets[b]
            or plan.offsets[b] + size[b] <= plan.offsets[a]
        )
        assert apart_in_time or apart_in_space, (a, b)
    for name, offset in plan.offsets.items():
        assert offset % ALIGNMENT == 0
        assert 0 <= offset <= offset + size[name] <= plan.total_bytes


@given(programs(), st.integers(1, 50), st.integers(1, 50))
def test_buffers_that_live_together_never_overlap(program, max_tokens, max_outputs):
    plan = plan_memory(program, max_tokens, max_outputs)
    assert plan.offsets.keys() == program.buffers.keys()
    assert_sound(program, plan, sizes(program, max_tokens, max_outputs))


@given(programs())
def test_the_arena_is_no_larger_than_all_buffers_apart(program):
    padded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes(program, 16, 16).values()]
    assert plan_memory(program, 16, 16).total_bytes <= sum(padded)


@pytest.mark.parametrize("overrides", VARIATIONS.values(), ids=VARIATIONS)
def test_the_plan_of_a_model_is_sound(overrides):
    program = tiny_program(overrides)
    assert_sound(program, plan_memory(program, 64, 8), sizes(program, 64, 8))


def test_layers_reuse_the_memory_of_the_layer_before():
    def total(layer_count: int) -> int:
        layers = VARIATIONS["mistral"]["layers"][:1] * layer_count
        return plan_memory(tiny_program({"layers": layers}), 64, 8).total_bytes

    assert total(12) == total(2)


def test_a_result_does_not_overwrite_the_operands_of_its_op():
    program = tiny_program()
    plan = plan_memory(program, 64, 8)
    for op in program.ops:
        for output in op.outputs:
            assert all(plan.offsets[output] != plan.offsets[name] for name in op.inputs)
