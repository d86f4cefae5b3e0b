"""Canonical weight names, and which of them an architecture has, with their shapes.

embed.weight                        [vocab, hidden]
layers.{i}.attention_norm.weight    [hidden]
layers.{i}.q.weight / .bias         [num_heads * head_dim, hidden] / [num_heads * head_dim]
layers.{i}.k.weight / .bias         [num_kv_heads * head_dim, hidden]
layers.{i}.v.weight / .bias         [num_kv_heads * head_dim, hidden]
layers.{i}.q_norm.weight, .k_norm   [head_dim]
layers.{i}.output.weight / .bias    [hidden, num_heads * head_dim]
layers.{i}.post_attention_norm.weight [hidden]
layers.{i}.ffn_norm.weight          [hidden]
layers.{i}.gate.weight, .up.weight  [ffn, hidden]
layers.{i}.down.weight              [hidden, ffn]
layers.{i}.post_ffn_norm.weight     [hidden]
final_norm.weight                   [hidden]
head.weight                         [vocab, hidden]    absent where tied_head
"""

from __future__ import annotations

from legato.models.arch import ArchConfig


def expected_weights(arch: ArchConfig) -> dict[str, tuple[int, ...]]:
    """Name → shape of every weight that `arch` needs, in order of use."""
    names: dict[str, tuple[int, ...]] = {"embed.weight": (arch.vocab_size, arch.hidden_size)}
    for layer in range(len(arch.layers)):
        names |= {f"layers.{layer}.{k}": shape for k, shape in layer_weights(arch).items()}
    names["final_norm.weight"] = (arch.hidden_size,)
    if not arch.tied_head:
        names["head.weight"] = (arch.vocab_size, arch.hidden_size)
    return names


def layer_weights(arch: ArchConfig) -> dict[str, tuple[int, ...]]:
    """Name → shape of the weights of one layer, without the ``layers.{i}.`` prefix."""
    hidden, ffn = arch.hidden_size, arch.ffn_size
    q_size, kv_size = arch.num_heads * arch.head_dim, arch.num_kv_heads * arch.head_dim
    names: dict[str, tuple[int, ...]] = {"attention_norm.weight": (hidden,)}
    for projection, size in (("q", q_size), ("k", kv_size), ("v", kv_size)):
        names[f"{projection}.weight"] = (size, hidden)
        if arch.qkv_bias:
            names[f"{projection}.bias"] = (size,)
    if arch.qk_norm:
        names |= {"q_norm.weight": (arch.head_dim,), "k_norm.weight": (arch.head_dim,)}
    names["output.weight"] = (hidden, q_size)
    if arch.output_bias:
        names["output.bias"] = (hidden,)
    if arch.post_norms:
        names["post_attention_norm.weight"] = (hidden,)
    names |= {
        "ffn_norm.weight": (hidden,),
        "gate.weight": (ffn, hidden),
        "up.weight": (ffn, hidden),
        "down.weight": (hidden, ffn),
    }
    if arch.post_norms:
        names["post_ffn_norm.weight"] = (hidden,)
    return names
