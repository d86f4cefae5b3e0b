"""From an architecture to a program: the only file that knows what a layer is."""

from __future__ import annotations

from collections.abc import Mapping

from legato.config import KVElement
from legato.models.arch import ArchConfig
from legato.program.builder import ProgramBuilder
from legato.program.kv import group_layers
from legato.program.program import KVLayout, OpKind, Program
from legato.program.shortcut import HEAD, Shortcut, head_weight
from legato.tensor import Tensor


def build_program(
    arch: ArchConfig,
    weights: Mapping[str, Tensor],
    *,
    block_size: int,
    kv_dtype: KVElement,
    max_context: int,
    shortcut: Shortcut | None = None,
) -> Program:
    """The verified program of `arch` over `weights` (canonical names of models/names.py).

    Args:
        block_size: tokens per KV block.
        kv_dtype: element type of cached keys and values.
        max_context: longest sequence in tokens.
        shortcut: build a cheaper program that guesses what the whole one would say. It has the
            same KV layout; `weights` need what `shortcut_weights` adds to them.

    Raises:
        ProgramError: a weight is missing or its shape does not fit the architecture.
    """
    kv = KVLayout(
        groups=group_layers([layer.window for layer in arch.layers]),
        block_size=block_size,
        num_kv_heads=arch.num_kv_heads,
        head_dim=arch.head_dim,
        dtype=kv_dtype,
    )
    builder = ProgramBuilder(weights, kv=kv, vocab_size=arch.vocab_size, max_context=max_context)
    x = _embedding(builder, arch)
    layers = shortcut.layers if shortcut else range(len(arch.layers))
    for index in layers:
        layer = _Layer(builder, arch, index)
        x = layer.attention_half(x, is_last=index == layers[-1])
        x = layer.ffn_half(x)
    _head(builder, arch, x, HEAD if shortcut else head_weight(arch))
    return builder.finish(partial=shortcut is not None)


def _embedding(builder: ProgramBuilder, arch: ArchConfig) -> str:
    x = builder.add(OpKind.EMBED, "embed", weights=("embed.weight",))
    if arch.embed_scale == 1.0:
        return x
    return builder.add(OpKind.SCALE, "embed_scaled", x, factor=arch.embed_scale)


def _head(builder: ProgramBuilder, arch: ArchConfig, x: str, weight: str) -> None:
    x = _norm(builder, arch, "final_norm", x)
    x = builder.add(OpKind.LINEAR, "logits", x, weights=(weight,))
    if arch.logit_soft_cap is not None:
        x = builder.add(OpKind.SOFT_CAP, "logits_capped", x, cap=arch.logit_soft_cap)
    builder.add(OpKind.SAMPLE, "sample", x)


def _norm(builder: ProgramBuilder, arch: ArchConfig, name: str, x: str, heads: int = 0) -> str:
    return builder.add(
        OpKind.RMS_NORM,
        name,
        x,
        weights=(f"{name}.weight",),
        eps=arch.norm_eps,
        weight_offset=arch.norm_weight_offset,
        heads=heads,
    )


class _Layer:
    """One transformer layer, whose ops and weights are named ``layers.{index}.…``."""

    def __init__(self, builder: ProgramBuilder, arch: ArchConfig, index: int) -> None:
        self.builder = builder
        self.arch = arch
        self.index = index

    def attention_half(self, x: str, *, is_last: bool) -> str:
        """x + attention(norm(x)); in the last layer of the rows whose output is wanted.

        Of the other rows only that layer's keys and values are ever read.
        """
        attended = self.attention(x)
        if is_last:
            x = self.output_rows("residual_rows", x)
            attended = self.output_rows("attended_rows", attended)
        output = self.linear("output", attended, bias=self.arch.output_bias)
        return self.residual("attention_residual", x, self.post_norm("post_attention_norm", output))

    def attention(self, x: str) -> str:
        """attention(norm(x)) before its output projection."""
        arch = self.arch
        normed = self.norm("attention_norm", x)
        q = self.rotated_heads("q", normed, arch.num_heads)
        k = self.rotated_heads("k", normed, arch.num_kv_heads)
        v = self.linear("v", normed, bias=arch.qkv_bias)
        self.builder.add(OpKind.KV_APPEND, self.name("kv_append"), k, v, layer=self.index)
        return self.builder.add(
            OpKind.ATTENTION,
            self.name("attention"),
            q,
            layer=self.index,
            num_heads=arch.num_heads,
            scale=arch.attention_scale,
            soft_cap=arch.attention_soft_cap,
            window=arch.layers[self.index].window,
        )

    def ffn_half(self, x: str) -> str:
        """x + down(activation(gate(norm(x))) · up(norm(x)))."""
        normed = self.norm("ffn_norm", x)
        gate = self.linear("gate", normed)
        up = self.linear("up", normed)
        activated = self.builder.add(
            OpKind.GATED_ACTIVATION,
            self.name("activated"),
            gate,
            up,
            activation=self.arch.activation,
        )
        down = self.linear("down", activated)
        return self.residual("ffn_residual", x, self.post_norm("post_ffn_norm", down))

    def rotated_heads(self, name: str, x: str, heads: int) -> str:
        """The q or k projection, normalised per head where the model does that, and rotated."""
        x = self.linear(name, x, bias=self.arch.qkv_bias)
        if self.arch.qk_norm:
            x = self.norm(f"{name}_norm", x, heads)
        rope = self.arch.layers[self.index].rope
        return self.builder.add(OpKind.ROPE, self.name(f"{name}_rope"), x, rope=rope, heads=heads)

    def output_rows(self, name: str, x: str) -> str:
        return self.builder.add(OpKind.TAKE_ROWS, self.name(name), x)

    def linear(self, name: str, x: str, *, bias: bool = False) -> str:
        weights = (self.name(f"{name}.weight"),) + (self.name(f"{name}.bias"),) * bias
        return self.builder.add(OpKind.LINEAR, self.name(name), x, weights=weights)

    def norm(self, name: str, x: str, heads: int = 0) -> str:
        return _norm(self.builder, self.arch, self.name(name), x, heads)

    def post_norm(self, name: str, x: str) -> str:
        return self.norm(name, x) if self.arch.post_norms else x

    def residual(self, name: str, x: str, update: str) -> str:
        return self.builder.add(OpKind.ADD, self.name(name), x, update)

    def name(self, suffix: str) -> str:
        return f"layers.{self.index}.{suffix}"
