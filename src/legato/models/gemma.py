"""Gemma 2 and Gemma 3 (text): scaled embeddings, norms before and after, alternating windows.

Safetensors store norm weights as w − 1, GGUF as w.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

from legato.models.arch import ArchConfig, LayerConfig, RopeConfig
from legato.models.common import Sizes, check_activation, config_sizes, gguf_sizes, layer_kinds
from legato.models.family import GGUF_NAMES, HF_NAMES, Family
from legato.models.fields import Fields
from legato.models.scaling import config_rope, gguf_rope, rope_base, scaled_rope
from legato.tensor import Tensor

GEMMA2_PERIOD, GEMMA3_PERIOD = 2, 6  # the last layer of each period sees everything
GEMMA2_27B_LAYERS, GEMMA3_27B_LAYERS = 46, 62
LOCAL_BASE, GLOBAL_BASE = 10_000.0, 1_000_000.0
SIZES = {"head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4, "rms_norm_eps": 1e-6}
COMMON = SIZES | {"query_pre_attn_scalar": 256, "sliding_window": 4096, "tie_word_embeddings": True}
GEMMA2_DEFAULTS = COMMON | {
    "vocab_size": 256000,
    "max_position_embeddings": 8192,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}
GEMMA3_DEFAULTS = COMMON | {
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "sliding_window_pattern": GEMMA3_PERIOD,
}


def gemma2_from_gguf(fields: Fields, tensors: Mapping[str, Tensor]) -> ArchConfig:
    """Gemma 2 from GGUF, which leaves out soft caps where they are the usual ones."""
    sizes = gguf_sizes(fields, tensors)
    rope = gguf_rope(fields, tensors, sizes.head_dim, "half")
    sliding = _pattern(sizes.num_layers, GEMMA2_PERIOD)
    layers = _layers(sliding, fields.integer("attention.sliding_window"), rope, rope)
    return replace(
        _architecture(sizes, layers),
        attention_scale=_gguf_scale(sizes, GEMMA2_27B_LAYERS),
        attention_soft_cap=fields.number("attn_logit_softcapping", 50.0),
        logit_soft_cap=fields.number("final_logit_softcapping", 30.0),
        tied_head="output.weight" not in tensors,
    )


def gemma3_from_gguf(fields: Fields, tensors: Mapping[str, Tensor]) -> ArchConfig:
    """Gemma 3 from GGUF. A rope scaling is meant for the global layers only."""
    sizes = gguf_sizes(fields, tensors)
    local = _plain_rope(sizes, rope_base(fields, "rope.freq_base_swa", LOCAL_BASE))
    layers = _layers(
        _gguf_pattern(fields, sizes.num_layers),
        fields.integer("attention.sliding_window"),
        local,
        gguf_rope(fields, tensors, sizes.head_dim, "half"),
    )
    return replace(
        _architecture(sizes, layers),
        attention_scale=_gguf_scale(sizes, GEMMA3_27B_LAYERS),
        logit_soft_cap=fields.optional_number("final_logit_softcapping"),
        qk_norm=True,
        tied_head="output.weight" not in tensors,
    )


def gemma2_from_config(fields: Fields) -> ArchConfig:
    """Gemma 2 from config.json."""
    fields = fields.with_defaults(GEMMA2_DEFAULTS)
    sizes = config_sizes(fields)
    rope = config_rope(fields, sizes.head_dim, sizes.max_context)
    sliding = layer_kinds(fields, sizes.num_layers) or _pattern(sizes.num_layers, GEMMA2_PERIOD)
    return _from_config(fields, sizes, _layers(sliding, _window(fields), rope, rope))


def gemma3_from_config(fields: Fields) -> ArchConfig:
    """Gemma 3 from config.json; that of a model with vision holds a ``text_config``."""
    if fields.has("text_config"):
        fields = fields.section("text_config")
    fields = fields.with_defaults(GEMMA3_DEFAULTS)
    sizes = config_sizes(fields)
    period = fields.integer("sliding_window_pattern")
    sliding = layer_kinds(fields, sizes.num_layers) or _pattern(sizes.num_layers, period)
    layers = _layers(sliding, _window(fields), *_config_ropes(fields, sizes))
    return replace(_from_config(fields, sizes, layers), qk_norm=True)


def _from_config(fields: Fields, sizes: Sizes, layers: Sequence[LayerConfig]) -> ArchConfig:
    check_activation(fields, "hidden_activation", "gelu_pytorch_tanh")
    if fields.flag("use_bidirectional_attention", False):
        raise fields.error("use_bidirectional_attention", "only causal models are supported")
    biases = fields.flag("attention_bias", False)
    return replace(
        _architecture(sizes, layers),
        attention_scale=1 / sqrt(fields.number("query_pre_attn_scalar")),
        norm_weight_offset=1.0,
        attention_soft_cap=fields.optional_number("attn_logit_softcapping"),
        logit_soft_cap=fields.optional_number("final_logit_softcapping"),
        qkv_bias=biases,
        output_bias=biases,
        tied_head=fields.flag("tie_word_embeddings", True),
    )


def _architecture(sizes: Sizes, layers: Sequence[LayerConfig]) -> ArchConfig:
    return replace(
        sizes.architecture("gemma", layers),
        activation="gelu_tanh",
        embed_scale=sqrt(sizes.hidden_size),
        post_norms=True,
    )


def _layers(
    sliding: Sequence[bool], window: int | None, local: RopeConfig, everywhere: RopeConfig
) -> list[LayerConfig]:
    near, far = LayerConfig(rope=local, window=window), LayerConfig(rope=everywhere)
    return [near if slides else far for slides in sliding]


def _pattern(num_layers: int, period: int) -> list[bool]:
    return [(layer + 1) % period != 0 for layer in range(num_layers)]


def _window(fields: Fields) -> int | None:
    return fields.integer("sliding_window") if fields.has("sliding_window") else None


def _gguf_pattern(fields: Fields, num_layers: int) -> list[bool]:
    """``sliding_window_pattern`` is a period or a list with a boolean for each layer."""
    key = "attention.sliding_window_pattern"
    pattern = fields.value(key)
    if not isinstance(pattern, list):
        return _pattern(num_layers, fields.integer(key, GEMMA3_PERIOD))
    if len(pattern) != num_layers or not all(isinstance(slides, bool) for slides in pattern):
        raise fields.error(key, f"it must be a period or {num_layers} booleans")
    return pattern


def _gguf_scale(sizes: Sizes, layers_of_27b: int) -> float:
    """GGUF does not hold ``query_pre_attn_scalar``; only the 27B models' is not the head size."""
    if sizes.num_layers == layers_of_27b:
        return 1 / sqrt(sizes.hidden_size / sizes.num_heads)
    return 1 / sqrt(sizes.head_dim)


def _config_ropes(fields: Fields, sizes: Sizes) -> tuple[RopeConfig, RopeConfig]:
    """Rope of sliding and of full layers; newer configs nest both in ``rope_parameters``."""
    nested = fields.section("rope_parameters")
    local, full = nested.section("sliding_attention"), nested.section("full_attention")
    if not fields.has("rope_parameters"):
        full = fields.section("rope_scaling")
    old_local = rope_base(fields, "rope_local_base_freq", LOCAL_BASE)
    old_full = rope_base(fields, "rope_theta", GLOBAL_BASE)
    context = sizes.max_context
    return (
        scaled_rope(local, sizes.head_dim, rope_base(local, "rope_theta", old_local), context),
        scaled_rope(full, sizes.head_dim, rope_base(full, "rope_theta", old_full), context),
    )


def _plain_rope(sizes: Sizes, base: float) -> RopeConfig:
    return scaled_rope(Fields({}), sizes.head_dim, base, sizes.max_context)


HF_GEMMA_NAMES = HF_NAMES | {
    "model.layers.{i}.post_attention_layernorm.weight": "layers.{i}.post_attention_norm.weight",
    "model.layers.{i}.pre_feedforward_layernorm.weight": "layers.{i}.ffn_norm.weight",
    "model.layers.{i}.post_feedforward_layernorm.weight": "layers.{i}.post_ffn_norm.weight",
}


def _with_vision(names: Mapping[str, str]) -> dict[str, str]:
    """The text names as a model with vision has them, in older and in newer files."""
    older = {f"language_model.{name}": canonical for name, canonical in names.items()}
    newer = {
        name.replace("model.", "model.language_model.", 1): canonical
        for name, canonical in names.items()
    }
    return {**names, **older, **newer}


GEMMA2 = Family(
    from_gguf=gemma2_from_gguf,
    from_config=gemma2_from_config,
    gguf_names=GGUF_NAMES,
    hf_names=HF_GEMMA_NAMES,
)
GEMMA3 = replace(
    GEMMA2,
    from_gguf=gemma3_from_gguf,
    from_config=gemma3_from_config,
    hf_names=_with_vision(HF_GEMMA_NAMES),
    ignored_prefixes=(
        "vision_tower.",
        "multi_modal_projector.",
        "model.vision_tower.",
        "model.multi_modal_projector.",
    ),
)
