"""Hyper-parameters that every family has, from GGUF metadata and from config.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from legato.errors import ModelFormatError
from legato.models.arch import ArchConfig, LayerConfig
from legato.models.fields import MAX_LAYERS, Fields
from legato.tensor import Tensor

MAX_HEAD_DIM = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of an `ArchConfig` and its norm's epsilon."""

    vocab_size: int
    hidden_size: int
    ffn_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_context: int
    norm_eps: float

    def architecture(self, family: str, layers: Sequence[LayerConfig]) -> ArchConfig:
        """A plain Llama-like architecture of these sizes, for a family to change."""
        return ArchConfig(
            family=family,
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            ffn_size=self.ffn_size,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            layers=tuple(layers),
            max_context=self.max_context,
            norm_eps=self.norm_eps,
            activation="silu",
            attention_scale=1 / sqrt(self.head_dim),
        )


def gguf_sizes(fields: Fields, tensors: Mapping[str, Tensor]) -> Sizes:
    """Sizes from ``{architecture}.*`` keys; the vocabulary is the embedding's rows."""
    heads = _heads(fields, "attention.head_count", "attention.head_count_kv")
    hidden = fields.integer("embedding_length")
    head_dim = _head_dim(fields, "attention.key_length", hidden, heads[0])
    for key in ("attention.value_length", "rope.dimension_count"):
        if fields.integer(key, head_dim) != head_dim:
            raise fields.error(key, f"only the head size, {head_dim}, is supported")
    return Sizes(
        vocab_size=_gguf_vocab_size(fields, tensors),
        hidden_size=hidden,
        ffn_size=fields.integer("feed_forward_length"),
        num_layers=fields.integer("block_count", maximum=MAX_LAYERS),
        num_heads=heads[0],
        num_kv_heads=heads[1],
        head_dim=head_dim,
        max_context=fields.integer("context_length"),
        norm_eps=fields.number("attention.layer_norm_rms_epsilon"),
    )


def config_sizes(fields: Fields) -> Sizes:
    """Sizes from config.json."""
    heads = _heads(fields, "num_attention_heads", "num_key_value_heads")
    hidden = fields.integer("hidden_size")
    return Sizes(
        vocab_size=fields.integer("vocab_size"),
        hidden_size=hidden,
        ffn_size=fields.integer("intermediate_size"),
        num_layers=fields.integer("num_hidden_layers", maximum=MAX_LAYERS),
        num_heads=heads[0],
        num_kv_heads=heads[1],
        head_dim=_head_dim(fields, "head_dim", hidden, heads[0]),
        max_context=fields.integer("max_position_embeddings"),
        norm_eps=fields.number("rms_norm_eps"),
    )


def _heads(fields: Fields, key: str, kv_key: str) -> tuple[int, int]:
    num_heads = fields.integer(key)
    num_kv_heads = fields.integer(kv_key, num_heads)
    if num_heads % num_kv_heads:
        raise fields.error(kv_key, f"it must divide {fields.name(key)}, which is {num_heads}")
    return num_heads, num_kv_heads


def _head_dim(fields: Fields, key: str, hidden: int, num_heads: int) -> int:
    if not fields.has(key) and hidden % num_heads:
        raise fields.error(key, f"{hidden} hidden elements do not divide into {num_heads} heads")
    head_dim = fields.integer(key, hidden // num_heads)
    if head_dim % 2 or head_dim > MAX_HEAD_DIM:
        raise fields.error(key, f"head size {head_dim} must be even and at most {MAX_HEAD_DIM}")
    return head_dim


def _gguf_vocab_size(fields: Fields, tensors: Mapping[str, Tensor]) -> int:
    embedding = tensors.get("token_embd.weight")
    if embedding is None:
        raise ModelFormatError("tensor 'token_embd.weight' is missing")
    rows = embedding.shape[0]
    if fields.integer("vocab_size", rows) != rows:
        raise fields.error("vocab_size", f"'token_embd.weight' has {rows} rows")
    return rows


def window_or_none(fields: Fields, key: str) -> int | None:
    """A sliding window in tokens, or None where the key is absent, null or 0."""
    return fields.integer(key, 0, minimum=0) or None


def layer_kinds(fields: Fields, num_layers: int) -> list[bool] | None:
    """Whether each layer slides, from config.json's ``layer_types``; None where absent."""
    kinds = fields.value("layer_types")
    if kinds is None:
        return None
    known = {"sliding_attention": True, "full_attention": False}
    if not isinstance(kinds, list) or not all(str(kind) in known for kind in kinds):
        raise fields.error("layer_types", f"it must be a list of {' and '.join(known)}")
    if len(kinds) != num_layers:
        raise fields.error("layer_types", f"it must name all {num_layers} layers")
    return [known[kind] for kind in kinds]


def check_activation(fields: Fields, key: str, supported: str) -> None:
    """Raise unless the activation is the family's own."""
    if fields.text(key, supported) != supported:
        raise fields.error(key, f"supported: {supported}")
