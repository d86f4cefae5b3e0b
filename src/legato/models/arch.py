"""The architecture of a decoder-only transformer, as data. Every family maps to this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["silu", "gelu_tanh"]
RopeStyle = Literal["half", "interleaved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Rotary position embedding (Su et al. 2021) with every scaling folded into the table.

    Attributes:
        frequencies: angle per position of each rotated pair, radians; dims / 2 of them.
        style: "half" pairs element i with i + dims/2; "interleaved" pairs 2i with 2i + 1.
        magnitude: factor on cos and sin (YaRN's attention factor); 1 for all others.
    """

    frequencies: tuple[float, ...]
    style: RopeStyle
    magnitude: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """One transformer layer. `window` is the sliding window in tokens (itself included)."""

    rope: RopeConfig
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchConfig:
    """A whole model. Canonical weight names are listed in `models/names.py`.

    Attributes:
        family: name of the mapping file, such as "llama".
        num_heads, num_kv_heads, head_dim: the same in all layers (one KV pool serves them).
        max_context: tokens that the model was trained for.
        norm_weight_offset: added to every RMS-norm weight (Gemma stores w − 1 in safetensors).
        embed_scale: factor on embeddings (Gemma: sqrt(hidden_size)).
        attention_scale: factor on q·k.
        attention_soft_cap, logit_soft_cap: c·tanh(x / c) where not None.
        qkv_bias: q, k and v projections have biases (Qwen2).
        output_bias: the attention output projection has one.
        qk_norm: RMS norm of each q and k head before rope (Qwen3, Gemma 3).
        post_norms: RMS norm of attention and FFN outputs before the residual add (Gemma 2, 3).
        tied_head: the output projection is the embedding matrix.
    """

    family: str
    vocab_size: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    layers: tuple[LayerConfig, ...]
    max_context: int
    norm_eps: float
    activation: Activation
    attention_scale: float
    norm_weight_offset: float = 0.0
    embed_scale: float = 1.0
    attention_soft_cap: float | None = None
    logit_soft_cap: float | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False
    tied_head: bool = False
