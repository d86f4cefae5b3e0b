"""A whole tiny Llama as a GGUF file, with any hyper-parameter changed."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

LAYER = {
    "attn_norm": (32,),
    "attn_q": (32, 32),
    "attn_k": (16, 32),
    "attn_v": (16, 32),
    "attn_output": (32, 32),
    "ffn_norm": (32,),
    "ffn_gate": (48, 32),
    "ffn_up": (48, 32),
    "ffn_down": (32, 48),
}
SIZES = {
    "block_count": 1,
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "vocab_size": 20,
}


def write_model(path: Path, changes: dict[str, object] | None = None) -> Path:
    """A Llama of one layer; `changes` replace hyper-parameters (None leaves one out)."""
    writer = gguf.GGUFWriter(path, "llama")
    numbers = {**SIZES, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e4}
    for key, value in {**numbers, **(changes or {})}.items():
        add_value(writer, f"llama.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(20)])
    for name, shape in {
        "token_embd.weight": (20, 32),
        "output_norm.weight": (32,),
        **{f"blk.0.{part}.weight": shape for part, shape in LAYER.items()},
    }.items():
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_value(writer: gguf.GGUFWriter, key: str, value: object) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, int) and value < 0:
        writer.add_int32(key, value)
    elif isinstance(value, int):
        (writer.add_uint32 if 0 <= value < 1 << 32 else writer.add_uint64)(key, value)
