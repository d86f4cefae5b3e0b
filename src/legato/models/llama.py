"""Llama 1 to 3, SmolLM2, Mistral: pre-norm, gated SiLU, rope on whole heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from legato.models.arch import ArchConfig, LayerConfig
from legato.models.common import check_activation, config_sizes, gguf_sizes, window_or_none
from legato.models.family import GGUF_NAMES, HF_NAMES, Family
from legato.models.fields import Fields
from legato.models.scaling import config_rope, gguf_rope
from legato.tensor import Tensor

MISTRAL_DEFAULTS = {
    "max_position_embeddings": 131072,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
}


def from_gguf(fields: Fields, tensors: Mapping[str, Tensor]) -> ArchConfig:
    """GGUF orders the rows of q and k so that rope turns neighbours: style "interleaved"."""
    sizes = gguf_sizes(fields, tensors)
    rope = gguf_rope(fields, tensors, sizes.head_dim, "interleaved")
    layer = LayerConfig(rope=rope, window=window_or_none(fields, "attention.sliding_window"))
    return replace(
        sizes.architecture("llama", [layer] * sizes.num_layers),
        qkv_bias="blk.0.attn_q.bias" in tensors,
        output_bias="blk.0.attn_output.bias" in tensors,
        tied_head="output.weight" not in tensors,
    )


def from_config(fields: Fields) -> ArchConfig:
    """A Llama config.json; defaults are those of the transformers class."""
    fields = fields.with_defaults({"rms_norm_eps": 1e-6, "max_position_embeddings": 2048})
    return _from_config(fields, window=None, biases=fields.flag("attention_bias", False))


def mistral_from_config(fields: Fields) -> ArchConfig:
    """Mistral is a Llama with a sliding window in all layers, which later versions set to null."""
    fields = fields.with_defaults(MISTRAL_DEFAULTS)
    return _from_config(fields, window=window_or_none(fields, "sliding_window"), biases=False)


def _from_config(fields: Fields, window: int | None, biases: bool) -> ArchConfig:
    check_activation(fields, "hidden_act", "silu")
    if fields.flag("mlp_bias", False):
        raise fields.error("mlp_bias", "biases in the feed-forward part are not supported")
    sizes = config_sizes(fields)
    layer = LayerConfig(rope=config_rope(fields, sizes.head_dim, sizes.max_context), window=window)
    return replace(
        sizes.architecture("llama", [layer] * sizes.num_layers),
        qkv_bias=biases,
        output_bias=biases,
        tied_head=fields.flag("tie_word_embeddings", False),
    )


FAMILY = Family(
    from_gguf=from_gguf,
    from_config=from_config,
    gguf_names=GGUF_NAMES,
    hf_names=HF_NAMES,
    ignored=frozenset({"rope_freqs.weight", "model.layers.{i}.self_attn.rotary_emb.inv_freq"}),
)
MISTRAL = replace(FAMILY, from_config=mistral_from_config)
