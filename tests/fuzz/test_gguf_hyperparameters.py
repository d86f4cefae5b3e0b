"""Nonsense hyper-parameters are refused with the key's name."""

from __future__ import annotations

from math import inf, nan

import pytest
from tiny_gguf import write_model

from legato.errors import ModelFormatError
from legato.models.load import load_model

CASES = [
    ("attention.head_count", 0),
    ("attention.head_count", 5),
    ("attention.head_count", 1 << 31),
    ("attention.head_count", "4"),
    ("attention.head_count", 4.0),
    ("attention.head_count_kv", 0),
    ("attention.head_count_kv", 3),
    ("attention.head_count_kv", 8),
    ("attention.key_length", 7),
    ("attention.key_length", 0),
    ("attention.value_length", 16),
    ("attention.layer_norm_rms_epsilon", nan),
    ("attention.layer_norm_rms_epsilon", inf),
    ("attention.layer_norm_rms_epsilon", 0.0),
    ("attention.layer_norm_rms_epsilon", -1e-5),
    ("attention.layer_norm_rms_epsilon", None),
    ("block_count", 0),
    ("block_count", 1 << 31),
    ("block_count", 4_000_000_000),
    ("block_count", "1"),
    ("block_count", None),
    ("context_length", 0),
    ("context_length", 1 << 63),
    ("context_length", None),
    ("embedding_length", 0),
    ("embedding_length", None),
    ("feed_forward_length", 0),
    ("rope.freq_base", 0.0),
    ("rope.freq_base", nan),
    ("rope.freq_base", -1.0),
    ("rope.freq_base", 1.0),
    ("rope.dimension_count", 4),
    ("rope.scaling.type", "longrope"),
    ("rope.scaling.factor", 0.0),
    ("rope.scaling.factor", nan),
    ("vocab_size", 19),
    ("vocab_size", 0),
    ("attention.sliding_window", -1),
    ("attention.sliding_window", "all"),
]


@pytest.mark.parametrize(("key", "value"), CASES)
def test_the_key_is_named(key, value, tmp_path):
    with pytest.raises(ModelFormatError, match=f"llama.{key}"):
        load_model(write_model(tmp_path / "model.gguf", {key: value}))


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("embedding_length", 64, "shape"),
        ("feed_forward_length", 64, "blk.0.ffn_gate.weight"),
        ("attention.head_count", 2, "blk.0.attn_k.weight"),
        ("block_count", 2, "layers.1.attention_norm.weight"),
    ],
)
def test_a_size_that_the_tensors_contradict_names_a_tensor(key, value, named, tmp_path):
    with pytest.raises(ModelFormatError, match=named):
        load_model(write_model(tmp_path / "model.gguf", {key: value}))


def test_the_unchanged_model_loads(tmp_path):
    assert load_model(write_model(tmp_path / "model.gguf")).arch.vocab_size == 20
