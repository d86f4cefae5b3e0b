"""Buffers share memory only where they are never alive together."""

from __future__ import annotations

import pytest

from legato.program.program import Buffer

slots = pytest.importorskip("legato.backends.native.slots")
Uses = slots.Uses


def buffers(**widths: int) -> dict[str, Buffer]:
    return {name: Buffer(name, "tokens", width) for name, width in widths.items()}


def test_a_buffer_that_is_read_for_the_last_time_gives_its_slot_to_a_later_one():
    uses = [Uses((), ("a",)), Uses(("a",), ("b",)), Uses(("b",), ("c",))]
    assigned = slots.assign_slots(uses, buffers(a=8, b=8, c=8))
    assert assigned["a"] != assigned["b"] != assigned["c"]
    assert assigned["a"] == assigned["c"]


def test_inputs_and_outputs_of_one_instruction_differ_unless_it_works_in_place():
    chain = [Uses((), ("a",)), Uses(("a",), ("b",), (("b", "a"),))]
    assigned = slots.assign_slots(chain, buffers(a=8, b=8))
    assert assigned["a"] == assigned["b"]


@pytest.mark.parametrize(
    "uses",
    [
        [Uses((), ("a",)), Uses(("a",), ("b",), (("b", "a"),)), Uses(("a", "b"), ())],
        [Uses((), ("a",)), Uses(("a", "a"), ("b", "c"), (("b", "a"), ("c", "a")))],
    ],
    ids=["read later", "read twice"],
)
def test_an_input_that_others_read_is_not_overwritten_in_place(uses):
    assigned = slots.assign_slots(uses, buffers(a=8, b=8, c=8))
    assert assigned["a"] != assigned["b"]


def test_token_and_output_rows_never_share():
    named = {"a": Buffer("a", "tokens", 8), "b": Buffer("b", "outputs", 8)}
    assigned = slots.assign_slots([Uses((), ("a",)), Uses((), ("b",))], named)
    assert assigned["a"] != assigned["b"]
