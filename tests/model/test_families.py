"""Every dialect of config.json and of GGUF metadata gives the same architecture."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden_models import GOLDENS

from legato.errors import ModelFormatError
from legato.models import gemma, llama, qwen
from legato.models.arch import ArchConfig
from legato.models.family import translate
from legato.models.fields import Fields
from legato.models.registry import gguf_family, hf_family
from legato.models.scaling import gguf_rope
from legato.tensor import Tensor, WeightFormat


def config_of(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((GOLDENS / name / "config.json").read_text())
    return config


def architecture(config: dict[str, Any]) -> ArchConfig:
    return hf_family(config["model_type"]).from_config(Fields(config))


def gguf_architecture(name: str, vocab: int = 128, **metadata: object) -> ArchConfig:
    """From metadata alone: only the embedding's shape is there."""
    data = np.zeros(vocab * 8 * 4, np.uint8)
    tensors = {"token_embd.weight": Tensor("token_embd.weight", (vocab, 8), WeightFormat.F32, data)}
    sizes = {
        "block_count": 12,
        "context_length": 4096,
        "embedding_length": 8,
        "feed_forward_length": 16,
        "attention.head_count": 2,
        "attention.key_length": 8,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.sliding_window": 512,
    }
    metadata = {key.replace("__", "."): value for key, value in metadata.items()}
    fields = {f"{name}.{key}": value for key, value in {**sizes, **metadata}.items()}
    return gguf_family(name).from_gguf(Fields(fields, f"{name}."), tensors)


def windows(arch: ArchConfig) -> list[int | None]:
    return [layer.window for layer in arch.layers]


@pytest.mark.parametrize("name", ["llama", "llama3", "mistral", "qwen2", "qwen3", "gemma2"])
def test_older_configs_keep_base_and_scaling_apart(name):
    config = config_of(name)
    rope = config.pop("rope_parameters")
    older = config | {"rope_theta": rope.pop("rope_theta")}
    if rope != {"rope_type": "default"}:
        older["rope_scaling"] = rope
    assert architecture(older) == architecture(config_of(name))


def test_the_oldest_configs_call_the_scaling_type():
    config = config_of("llama") | {
        "rope_parameters": None,
        "rope_theta": 10_000.0,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    }
    frequencies = architecture(config).layers[0].rope.frequencies
    assert frequencies[0] == 0.25


def test_older_gemma_3_configs_have_a_period_and_a_local_base():
    config = config_of("gemma3")
    full = config.pop("rope_parameters")["full_attention"]
    del config["layer_types"]
    older = config | {
        "sliding_window_pattern": 6,
        "rope_local_base_freq": 100.0,
        "rope_theta": full.pop("rope_theta"),
        "rope_scaling": full,
    }
    assert architecture(older) == architecture(config_of("gemma3"))


def test_gemma_3_with_vision_nests_its_text_config_and_leaves_out_defaults():
    arch = architecture(
        {
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text",
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "num_hidden_layers": 34,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                "sliding_window": 1024,
            },
        }
    )
    assert (arch.num_heads, arch.num_kv_heads, arch.head_dim) == (8, 4, 256)
    assert windows(arch)[:7] == [1024] * 5 + [None, 1024]
    assert arch.layers[0].rope.frequencies[0] == 1.0
    assert arch.layers[5].rope.frequencies[0] == 1 / 8
    assert arch.attention_scale == 1 / 16


@pytest.mark.parametrize("prefix", ["model.", "language_model.model.", "model.language_model."])
def test_gemma_3_tensors_have_one_of_three_prefixes(prefix):
    name = f"{prefix}layers.3.post_feedforward_layernorm.weight"
    assert translate(name, gemma.GEMMA3.hf_names) == "layers.3.post_ffn_norm.weight"


def test_parts_of_the_vision_tower_are_ignored_by_gemma_3_alone():
    name = "vision_tower.vision_model.post_layernorm.weight"
    assert gemma.GEMMA3.ignores(name)
    assert not gemma.GEMMA2.ignores(name)
    assert not llama.FAMILY.ignores(name)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [None, None]),
        ({"use_sliding_window": True, "max_window_layers": 1}, [None, 16]),
        ({"use_sliding_window": True, "max_window_layers": 2}, [None, None]),
        ({"use_sliding_window": True, "max_window_layers": 0}, [16, 16]),
    ],
)
def test_qwen_slides_only_where_asked(changes, expected):
    config = config_of("qwen2") | {"layer_types": None, "sliding_window": 16} | changes
    assert windows(architecture(config)) == expected


def test_mistral_without_a_window_key_has_the_first_version_s_window():
    config = config_of("mistral")
    assert windows(architecture(config | {"sliding_window": None})) == [None, None]
    del config["sliding_window"]
    assert windows(architecture(config)) == [4096, 4096]


def test_llama_biases_are_on_all_attention_projections_and_qwen_2_s_on_three():
    biased = architecture(config_of("llama") | {"attention_bias": True})
    assert (biased.qkv_bias, biased.output_bias) == (True, True)
    qwen2 = architecture(config_of("qwen2"))
    assert (qwen2.qkv_bias, qwen2.output_bias) == (True, False)


@pytest.mark.parametrize("kinds", [["full_attention"], ["linear_attention"] * 2, "full", [[], []]])
def test_layer_types_that_make_no_sense_are_named(kinds):
    with pytest.raises(ModelFormatError, match="layer_types"):
        architecture(config_of("gemma2") | {"layer_types": kinds})


def test_a_rope_for_each_kind_of_layer_is_refused_where_the_family_has_one():
    nested = config_of("gemma3")["rope_parameters"]
    with pytest.raises(ModelFormatError, match="rope_parameters"):
        architecture(config_of("qwen3") | {"rope_parameters": nested})


@pytest.mark.parametrize("factors", [[1.0, 2.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, np.nan, 1.0]])
def test_llama_3_s_factors_must_be_positive_numbers_for_every_pair(factors):
    data = np.array(factors, np.float32)
    tensors = {
        "rope_freqs.weight": Tensor(
            "rope_freqs.weight", data.shape, WeightFormat.F32, data.view(np.uint8)
        )
    }
    with pytest.raises(ModelFormatError, match=r"'rope_freqs\.weight' must hold 4 finite positive"):
        gguf_rope(Fields({}), tensors, 8, "interleaved")


def test_bidirectional_gemma_is_refused():
    with pytest.raises(ModelFormatError, match="use_bidirectional_attention"):
        architecture(config_of("gemma3") | {"use_bidirectional_attention": True})


def test_gguf_gemma_3_slides_five_of_six_layers_with_its_own_base():
    arch = gguf_architecture("gemma3", rope__freq_base=1e6, rope__scaling__factor=8.0)
    assert windows(arch) == ([512] * 5 + [None]) * 2
    assert arch.layers[0].rope.frequencies[1] == pytest.approx(10_000**-0.25)
    assert arch.layers[5].rope.frequencies[1] == pytest.approx(1e6**-0.25 / 8)


@pytest.mark.parametrize("pattern", [3, [True, True, False] * 4])
def test_gguf_gemma_3_s_pattern_is_a_period_or_a_list(pattern):
    arch = gguf_architecture("gemma3", attention__sliding_window_pattern=pattern)
    assert windows(arch) == [512, 512, None] * 4


@pytest.mark.parametrize("pattern", [0, [True], [1] * 12, "6"])
def test_gguf_gemma_3_s_pattern_is_checked(pattern):
    with pytest.raises(ModelFormatError, match=r"gemma3\.attention\.sliding_window_pattern"):
        gguf_architecture("gemma3", attention__sliding_window_pattern=pattern)


def test_gguf_gemma_2_has_the_usual_caps_where_the_file_is_silent():
    arch = gguf_architecture("gemma2")
    assert (arch.attention_soft_cap, arch.logit_soft_cap) == (50.0, 30.0)
    assert windows(arch) == [512, None] * 6
    assert arch.norm_weight_offset == 0.0


@pytest.mark.parametrize(("name", "layers"), [("gemma2", 46), ("gemma3", 62)])
def test_only_the_27b_gemmas_scale_attention_by_hidden_size_per_head(name, layers):
    assert gguf_architecture(name).attention_scale == pytest.approx(8**-0.5)
    assert gguf_architecture(name, block_count=layers).attention_scale == pytest.approx(4**-0.5)


def test_gguf_llama_turns_neighbours_and_the_others_halves():
    assert gguf_architecture("llama").layers[0].rope.style == "interleaved"
    for name in ("qwen2", "qwen3", "gemma2", "gemma3"):
        assert gguf_architecture(name).layers[0].rope.style == "half"


def test_gguf_head_is_tied_where_the_output_matrix_is_absent():
    assert gguf_architecture("qwen3").tied_head


def test_qwen_files_differ_in_biases_and_norms_alone():
    qwen2, qwen3 = gguf_architecture("qwen2"), gguf_architecture("qwen3")
    assert replace(qwen2, qkv_bias=False) == replace(qwen3, qk_norm=False)
    assert qwen.QWEN2.hf_names is qwen.QWEN3.hf_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blk.0.attn_q.weight", "layers.0.q.weight"),
        ("blk.17.post_ffw_norm.weight", "layers.17.post_ffn_norm.weight"),
        ("blk.01.attn_q.weight", None),
        ("blk.x.attn_q.weight", None),
        ("blk.{i}.attn_q.weight", None),
        ("blk.0.attn_q.weight.1.", None),
        ("", None),
    ],
)
def test_names_translate_exactly_or_not_at_all(name, expected):
    assert translate(name, llama.FAMILY.gguf_names) == expected
