"""Writes the tiny golden models as GGUF, the way llama.cpp's converter does.

An independent second source for the mapping: names, metadata keys, the order of rows of q and k
and the + 1 of Gemma's norms are written out here from the converter's behaviour.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from legato.dequantize import dequantize
from legato.models.formats.safetensors import read_safetensors_folder

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}


def write_gguf_model(folder: Path, path: Path) -> Path:
    """The model in `folder` as one GGUF file with f32 tensors."""
    config = json.loads((folder / "config.json").read_text())
    architecture = ARCHITECTURES.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(path, architecture)
    add_sizes(writer, config)
    add_rope(writer, config)
    add_attention(writer, config, architecture)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(config["vocab_size"] - 3)])
    for name, tensor in read_safetensors_folder(folder).items():
        values = convert(name, dequantize(tensor), config, architecture)
        writer.add_tensor(gguf_name(name, architecture), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_sizes(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])


def add_rope(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    rope = config["rope_parameters"]
    if "sliding_attention" in rope:
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, config["head_dim"]))


def add_attention(writer: gguf.GGUFWriter, config: dict[str, Any], architecture: str) -> None:
    if config.get("sliding_window") and architecture in ("llama", "gemma2", "gemma3"):
        writer.add_sliding_window(config["sliding_window"])
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def llama3_factors(rope: dict[str, Any], dims: int) -> np.ndarray:
    """What the frequencies are divided by, from the wavelength form of the rule."""
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, dims, 2) / dims)
    wavelengths = 2 * np.pi / frequencies
    context, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = (context / wavelengths - low) / (high - low)
    factors = 1 / ((1 - smooth) / factor + smooth)
    factors[wavelengths > context / low] = factor
    factors[wavelengths < context / high] = 1.0
    return factors.astype(np.float32)


def convert(name: str, values: np.ndarray, config: dict[str, Any], architecture: str) -> np.ndarray:
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return values + 1
    if architecture == "gemma2" and name.endswith("q_proj.weight"):
        # GGUF has no key for query_pre_attn_scalar; readers take the head size instead.
        return values * np.float32((config["head_dim"] / config["query_pre_attn_scalar"]) ** 0.5)
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    projection = name.split(".")[-2]
    if architecture == "llama" and projection in heads:
        halves = values.reshape(config[heads[projection]], 2, -1, *values.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
    return values


def gguf_name(name: str, architecture: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{NAMES[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    if part == "post_attention_layernorm":
        own = "post_attention_norm" if architecture.startswith("gemma") else "ffn_norm"
        return f"blk.{layer}.{own}.{kind}"
    return f"blk.{layer}.{NAMES[part]}.{kind}"
