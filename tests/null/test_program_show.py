from __future__ import annotations

import pytest

from legato.program.quantities import format_bytes, format_quantity, format_ranges
from legato.program.show import format_program, format_summary
from model.tiny import VARIATIONS, layers, tiny_program


def test_layers_alike_are_shown_once():
    text = format_program(tiny_program({"layers": layers(*[None] * 8)}), depth=10)
    assert "layer 0; layers 1..6 are like it" in text
    assert "\nlayer 7 " in text  # the last takes rows
    assert text.count("gated_activation(") == 2


def test_each_kind_of_layer_is_shown_with_the_layers_like_it():
    text = format_program(tiny_program(VARIATIONS["gemma3"]), depth=10)
    assert "layer 0; layers 1, 3..4 are like it" in text
    assert "\nlayer 2 " in text
    assert "\nlayer 5 " in text
    assert text.count("window=20") == 1


def test_all_layers_shows_every_op():
    program = tiny_program()
    text = format_program(program, depth=10, all_layers=True)
    assert "like it" not in text
    assert text.count("gated_activation(") == 2


def test_a_line_gives_shape_operands_weight_and_cost():
    text = format_program(tiny_program(), depth=10)
    line = next(line for line in text.splitlines() if line.startswith("  gate"))
    assert " ".join(line.split()) == (
        "gate [T, 96] linear(ffn_norm) f32 [96, 64] 12.3 kFLOP 24.6 kB"
    )


def test_every_op_name_appears():
    program = tiny_program(VARIATIONS["gemma2"])
    text = format_program(program, depth=10, all_layers=True)
    for op in program.ops:
        assert f"  {op.name.split('.')[-1]}" in text


def test_depth_raises_the_cost_of_attention():
    def attention_line(depth: int) -> str:
        text = format_program(tiny_program(), depth=depth)
        return next(line for line in text.splitlines() if line.startswith("  attention [")).strip()

    assert attention_line(0).endswith("256 FLOP     128 B")
    assert attention_line(99).endswith("25.6 kFLOP   12.8 kB")


def test_the_summary_gives_sizes_and_the_cost_of_a_token():
    summary = format_summary(tiny_program({"layers": layers(20, None)}), depth=99)
    for words in ("82.2 k", "f32 329 kB", "256 B a token", "2 x 1 layers", "window 20", "at 99"):
        assert words in summary


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 "),
        (612, "612 "),
        (1000, "1 k"),
        (98_304, "98.3 k"),
        (134_515_008, "135 M"),
        (2.5e9, "2.5 G"),
        (7e12, "7 T"),
        (999_700, "1 M"),
    ],
)
def test_quantities_have_three_digits_and_a_prefix(value, text):
    assert format_quantity(value) == text
    assert format_bytes(value) == text + "B"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([0, 1, 2], "0..2"), ([0, 1, 3, 5, 6], "0..1, 3, 5..6")],
)
def test_ranges(numbers, text):
    assert format_ranges(numbers) == text
