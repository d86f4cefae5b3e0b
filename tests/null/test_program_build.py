from __future__ import annotations

import numpy as np
import pytest

from legato.errors import ProgramError
from legato.program.build import build_program
from legato.program.kv import group_layers, layer_location
from model.tiny import VARIATIONS, f32_tensor, layers, tiny_model, tiny_program


@pytest.mark.parametrize("overrides", VARIATIONS.values(), ids=VARIATIONS)
def test_every_variation_builds_and_uses_all_its_weights(overrides):
    arch, weights = tiny_model(overrides)
    program = build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=256)
    assert program.weights.keys() == weights.keys()
    assert len(program.kv.groups) * program.kv.layers_per_block == len(arch.layers)


def test_a_llama_layer_reads_like_the_transformer():
    names = [op.name for op in tiny_program().ops if op.name.startswith("layers.0.")]
    assert [name.removeprefix("layers.0.") for name in names] == [
        "attention_norm",
        "q",
        "q_rope",
        "k",
        "k_rope",
        "v",
        "kv_append",
        "attention",
        "output",
        "attention_residual",
        "ffn_norm",
        "gate",
        "up",
        "activated",
        "down",
        "ffn_residual",
    ]


def test_a_gemma_layer_has_head_norms_and_post_norms():
    names = {op.name.removeprefix("layers.0.") for op in tiny_program(VARIATIONS["gemma3"]).ops}
    assert {"q_norm", "k_norm", "post_attention_norm", "post_ffn_norm", "embed_scaled"} <= names


def test_the_residual_joins_the_input_of_each_half():
    ops = {op.name: op for op in tiny_program({"layers": layers(*[None] * 3)}).ops}
    assert ops["layers.1.attention_residual"].inputs == ("layers.0.ffn_residual", "layers.1.output")
    assert ops["layers.1.ffn_residual"].inputs == ("layers.1.attention_residual", "layers.1.down")


def test_after_its_attention_the_last_layer_computes_only_rows_whose_output_is_wanted():
    program = tiny_program()
    rows = {op.name: program.buffers[op.outputs[0]].rows for op in program.ops if op.outputs}
    after = [name for name in rows if name.startswith("layers.1.")]
    first = after.index("layers.1.attention") + 1
    assert {rows[name] for name in after[:first]} == {"tokens"}
    assert {rows[name] for name in after[first:]} == {"outputs"}
    assert {kind for name, kind in rows.items() if name.startswith("layers.0.")} == {"tokens"}


def test_a_tied_head_is_the_embedding():
    ops = {op.name: op for op in tiny_program({"tied_head": True}).ops}
    assert ops["logits"].weights == ("embed.weight",)


def test_a_missing_weight_is_named():
    arch, weights = tiny_model()
    del weights["layers.1.up.weight"]
    with pytest.raises(ProgramError, match=r"layers\.1\.up\.weight"):
        build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=256)


def test_a_weight_of_the_wrong_shape_names_the_op():
    arch, weights = tiny_model()
    weights["layers.1.down.weight"] = f32_tensor("down", np.zeros((64, 32)))
    with pytest.raises(ProgramError, match=r"linear 'layers\.1\.down'.*width 96"):
        build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=256)


def test_layers_are_grouped_by_window_in_groups_of_equal_size():
    """The pattern of Gemma 3 270M: every sixth layer of 18 is full."""
    windows = [None if layer % 6 == 5 else 512 for layer in range(18)]
    groups = group_layers(windows)
    assert [len(group.layers) for group in groups] == [3] * 6
    assert [group.window for group in groups].count(512) == 5
    assert next(group for group in groups if group.window is None).layers == (5, 11, 17)
    assert sorted(layer for group in groups for layer in group.layers) == list(range(18))


@pytest.mark.parametrize("window", [None, 64])
def test_equal_layers_share_one_group(window):
    (group,) = group_layers([window] * 7)
    assert (group.layers, group.window) == (tuple(range(7)), window)


def test_layer_location_finds_group_and_place():
    layout = tiny_program({"layers": layers(20, None, 20, None)}).kv
    assert [layer_location(layout, layer) for layer in range(4)] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    with pytest.raises(ProgramError, match="layer 4"):
        layer_location(layout, 4)


def test_the_size_of_a_block_counts_keys_and_values_of_a_group():
    layout = tiny_program({"layers": layers(20, 20, None, 20, 20, None)}).kv
    assert layout.block_bytes == 2 * 2 * 16 * 2 * 16 * 2
