"""Qwen2 (biases on q, k and v) and Qwen3 (a norm on every q and k head)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from legato.models.arch import ArchConfig, LayerConfig
from legato.models.common import check_activation, config_sizes, gguf_sizes, layer_kinds
from legato.models.family import GGUF_NAMES, HF_NAMES, Family
from legato.models.fields import Fields
from legato.models.scaling import config_rope, gguf_rope
from legato.tensor import Tensor

DEFAULTS = {
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
}


def qwen2_from_gguf(fields: Fields, tensors: Mapping[str, Tensor]) -> ArchConfig:
    """Qwen2 from GGUF."""
    return replace(_from_gguf(fields, tensors), qkv_bias=True)


def qwen3_from_gguf(fields: Fields, tensors: Mapping[str, Tensor]) -> ArchConfig:
    """Qwen3 from GGUF."""
    return replace(_from_gguf(fields, tensors), qk_norm=True)


def qwen2_from_config(fields: Fields) -> ArchConfig:
    """Qwen2 from config.json."""
    return replace(_from_config(fields.with_defaults(DEFAULTS)), qkv_bias=True)


def qwen3_from_config(fields: Fields) -> ArchConfig:
    """Qwen3 from config.json."""
    fields = fields.with_defaults(DEFAULTS | {"head_dim": 128})
    biases = fields.flag("attention_bias", False)
    return replace(_from_config(fields), qk_norm=True, qkv_bias=biases, output_bias=biases)


def _from_gguf(fields: Fields, tensors: Mapping[str, Tensor]) -> ArchConfig:
    sizes = gguf_sizes(fields, tensors)
    layer = LayerConfig(rope=gguf_rope(fields, tensors, sizes.head_dim, "half"))
    return replace(
        sizes.architecture("qwen", [layer] * sizes.num_layers),
        tied_head="output.weight" not in tensors,
    )


def _from_config(fields: Fields) -> ArchConfig:
    check_activation(fields, "hidden_act", "silu")
    sizes = config_sizes(fields)
    rope = config_rope(fields, sizes.head_dim, sizes.max_context)
    windows = _windows(fields, sizes.num_layers)
    return replace(
        sizes.architecture("qwen", [LayerConfig(rope=rope, window=w) for w in windows]),
        tied_head=fields.flag("tie_word_embeddings", False),
    )


def _windows(fields: Fields, num_layers: int) -> list[int | None]:
    """The window of each layer. Configs carry a ``sliding_window`` that is off by default."""
    if not fields.flag("use_sliding_window", False) or not fields.has("sliding_window"):
        return [None] * num_layers
    window = fields.integer("sliding_window")
    first = fields.integer("max_window_layers", minimum=0)
    kinds = layer_kinds(fields, num_layers) or [layer >= first for layer in range(num_layers)]
    return [window if slides else None for slides in kinds]


QWEN2 = Family(
    from_gguf=qwen2_from_gguf,
    from_config=qwen2_from_config,
    gguf_names=GGUF_NAMES,
    hf_names=HF_NAMES,
    ignored=frozenset({"rope_freqs.weight"}),
)
QWEN3 = replace(QWEN2, from_gguf=qwen3_from_gguf, from_config=qwen3_from_config)
