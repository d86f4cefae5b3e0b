"""What a family of models must tell the loader, and the names that most families share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from legato.models.arch import ArchConfig
from legato.models.fields import Fields
from legato.tensor import Tensor

GGUF_NAMES = {
    "token_embd.weight": "embed.weight",
    "output_norm.weight": "final_norm.weight",
    "output.weight": "head.weight",
    "blk.{i}.attn_norm.weight": "layers.{i}.attention_norm.weight",
    "blk.{i}.attn_q.weight": "layers.{i}.q.weight",
    "blk.{i}.attn_q.bias": "layers.{i}.q.bias",
    "blk.{i}.attn_k.weight": "layers.{i}.k.weight",
    "blk.{i}.attn_k.bias": "layers.{i}.k.bias",
    "blk.{i}.attn_v.weight": "layers.{i}.v.weight",
    "blk.{i}.attn_v.bias": "layers.{i}.v.bias",
    "blk.{i}.attn_q_norm.weight": "layers.{i}.q_norm.weight",
    "blk.{i}.attn_k_norm.weight": "layers.{i}.k_norm.weight",
    "blk.{i}.attn_output.weight": "layers.{i}.output.weight",
    "blk.{i}.attn_output.bias": "layers.{i}.output.bias",
    "blk.{i}.post_attention_norm.weight": "layers.{i}.post_attention_norm.weight",
    "blk.{i}.ffn_norm.weight": "layers.{i}.ffn_norm.weight",
    "blk.{i}.ffn_gate.weight": "layers.{i}.gate.weight",
    "blk.{i}.ffn_up.weight": "layers.{i}.up.weight",
    "blk.{i}.ffn_down.weight": "layers.{i}.down.weight",
    "blk.{i}.post_ffw_norm.weight": "layers.{i}.post_ffn_norm.weight",
}

HF_NAMES = {
    "model.embed_tokens.weight": "embed.weight",
    "model.norm.weight": "final_norm.weight",
    "lm_head.weight": "head.weight",
    "model.layers.{i}.input_layernorm.weight": "layers.{i}.attention_norm.weight",
    "model.layers.{i}.self_attn.q_proj.weight": "layers.{i}.q.weight",
    "model.layers.{i}.self_attn.q_proj.bias": "layers.{i}.q.bias",
    "model.layers.{i}.self_attn.k_proj.weight": "layers.{i}.k.weight",
    "model.layers.{i}.self_attn.k_proj.bias": "layers.{i}.k.bias",
    "model.layers.{i}.self_attn.v_proj.weight": "layers.{i}.v.weight",
    "model.layers.{i}.self_attn.v_proj.bias": "layers.{i}.v.bias",
    "model.layers.{i}.self_attn.q_norm.weight": "layers.{i}.q_norm.weight",
    "model.layers.{i}.self_attn.k_norm.weight": "layers.{i}.k_norm.weight",
    "model.layers.{i}.self_attn.o_proj.weight": "layers.{i}.output.weight",
    "model.layers.{i}.self_attn.o_proj.bias": "layers.{i}.output.bias",
    "model.layers.{i}.post_attention_layernorm.weight": "layers.{i}.ffn_norm.weight",
    "model.layers.{i}.mlp.gate_proj.weight": "layers.{i}.gate.weight",
    "model.layers.{i}.mlp.up_proj.weight": "layers.{i}.up.weight",
    "model.layers.{i}.mlp.down_proj.weight": "layers.{i}.down.weight",
}

_LAYER = re.compile(r"\.(0|[1-9][0-9]{0,3})\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One mapping file.

    Attributes:
        from_gguf: metadata below ``{architecture}.`` and tensors by GGUF name → architecture.
        from_config: config.json → architecture.
        gguf_names, hf_names: names in the file → canonical names, ``{i}`` for the layer.
        ignored: names (``{i}`` again) whose content is in the architecture or not needed.
        ignored_prefixes: beginnings of such names.
    """

    from_gguf: Callable[[Fields, Mapping[str, Tensor]], ArchConfig]
    from_config: Callable[[Fields], ArchConfig]
    gguf_names: Mapping[str, str]
    hf_names: Mapping[str, str]
    ignored: frozenset[str] = frozenset()
    ignored_prefixes: tuple[str, ...] = ()

    def ignores(self, name: str) -> bool:
        """Whether a tensor of this name may be left over."""
        general = _LAYER.sub(".{i}.", name, count=1)
        return general in self.ignored or name.startswith(self.ignored_prefixes)


def translate(name: str, names: Mapping[str, str]) -> str | None:
    """The canonical name of a tensor, or None where `names` has none."""
    layer = _LAYER.search(name)
    if layer is None:
        return None if "{i}" in name else names.get(name)
    canonical = names.get(_LAYER.sub(".{i}.", name, count=1))
    return canonical and canonical.replace("{i}", layer[1])
