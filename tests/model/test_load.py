"""What `load_model` accepts, and how it names what it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.numpy
from gguf_files import write_gguf_model
from golden_models import GOLDENS

from legato.dequantize import dequantize
from legato.errors import ModelFormatError
from legato.models.formats.safetensors import read_safetensors_folder
from legato.models.load import load_model
from legato.models.names import expected_weights
from legato.tensor import WeightFormat
from legato.text.source import GGUFVocabulary, TokenizerFolder

Arrays = dict[str, np.ndarray]


def copy_of(name: str, target: Path, **config: object) -> Path:
    """A golden model's folder, with keys of config.json replaced."""
    folder = target / name
    shutil.copytree(GOLDENS / name, folder)
    return edit_config(folder, **config)


def edit_config(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def edit_weights(folder: Path, edit: Callable[[Arrays], Any]) -> Path:
    """Rewrite the (single) weight file, in f32, after `edit`."""
    arrays = {name: dequantize(t) for name, t in read_safetensors_folder(folder).items()}
    edit(arrays)
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    return folder


def test_folder_gives_all_weights_in_order_of_use_and_its_tokenizer_files():
    model = load_model(GOLDENS / "mistral")
    assert list(model.weights) == list(expected_weights(model.arch))
    assert all(name == tensor.name for name, tensor in model.weights.items())
    assert model.name == "mistral"
    assert model.tokenizer == TokenizerFolder(GOLDENS / "mistral")


def test_gguf_gives_its_vocabulary_which_may_be_shorter_than_the_embedding(tmp_path):
    model = load_model(write_gguf_model(GOLDENS / "llama", tmp_path / "tiny.gguf"))
    assert isinstance(model.tokenizer, GGUFVocabulary)
    assert len(model.tokenizer.metadata["tokenizer.ggml.tokens"]) == 125
    assert model.arch.vocab_size == 128
    assert model.name == "tiny"


def test_weights_are_views_into_the_file():
    model = load_model(GOLDENS / "qwen2")
    weight = model.weights["layers.0.q.weight"]
    assert weight.format is WeightFormat.BF16
    assert weight.data.base is not None
    assert not weight.data.flags.writeable


def test_tied_models_may_carry_a_copy_of_the_head(tmp_path):
    folder = copy_of("qwen2", tmp_path)
    edit_weights(folder, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"]}))
    assert "head.weight" not in load_model(folder).weights


def test_rotary_buffers_of_old_checkpoints_are_ignored(tmp_path):
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
    load_model(edit_weights(copy_of("llama", tmp_path), lambda w: w.update(extra)))


def test_a_missing_tensor_is_named(tmp_path):
    folder = copy_of("llama", tmp_path)
    edit_weights(folder, lambda w: w.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelFormatError, match=r"missing tensors: layers\.1\.up\.weight"):
        load_model(folder)


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.extra.weight", "model.layers.2.mlp.up_proj.weight", "adapter"]
)
def test_a_leftover_tensor_is_named(name, tmp_path):
    folder = copy_of("llama", tmp_path)
    edit_weights(folder, lambda w: w.update({name: np.ones((2, 2), np.float32)}))
    with pytest.raises(ModelFormatError, match=f"does not use: {name}"):
        load_model(folder)


def test_a_misshapen_tensor_is_named_with_both_shapes(tmp_path):
    folder = copy_of("llama", tmp_path)
    edit_weights(folder, lambda w: w.update({"model.norm.weight": np.ones(31, np.float32)}))
    with pytest.raises(ModelFormatError, match=r"'model\.norm\.weight' has shape \(31,\)"):
        load_model(folder)


def test_a_quantised_norm_is_refused(tmp_path):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in {"block_count": 1, "context_length": 8, "embedding_length": 32}.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    square = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    norm = gguf.quants.quantize(np.ones(32, np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", norm, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for name in ("token_embd.weight", *(f"blk.0.{part}.weight" for part in square)):
        writer.add_tensor(name, np.ones((32, 32), np.float32))
    for part in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{part}.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelFormatError, match=r"'output_norm\.weight' is Q8_0"):
        load_model(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba'; supported: .*gemma2.*qwen3"),
        ({"model_type": None}, "model_type is missing"),
        ({"auto_map": {"AutoModel": "model.Model"}}, "auto_map.*never run"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu': supported: silu"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"head_dim": 7}, "head_dim"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rope_type is 'longrope'"),
        ({"rope_parameters": {"rope_type": "linear"}}, "factor is missing"),
        ({"rope_parameters": []}, "rope_parameters"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"num_hidden_layers": 1 << 31}, "num_hidden_layers"),
        ({"vocab_size": 127}, "embed_tokens"),
    ],
)
def test_a_config_that_does_not_fit_names_the_key(config, message, tmp_path):
    with pytest.raises(ModelFormatError, match=message):
        load_model(copy_of("llama", tmp_path, **config))


def test_an_unknown_gguf_architecture_lists_the_supported(tmp_path):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_tensor("token_embd.weight", np.ones((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelFormatError, match="'mamba'; supported: gemma2, gemma3, llama"):
        load_model(path)


def test_pickles_are_never_loaded(tmp_path):
    folder = copy_of("llama", tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelFormatError, match=r"pytorch_model\.bin is a pickle"):
        load_model(folder)
    with pytest.raises(ModelFormatError, match="is a pickle"):
        load_model(folder / "pytorch_model.bin")


def test_code_that_comes_with_a_model_is_never_run(tmp_path, monkeypatch):
    folder = copy_of("llama", tmp_path)
    canary = tmp_path / "canary"
    code = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
    for name in ("modeling_evil.py", "configuration_evil.py", "__init__.py", "x.py"):
        (folder / name).write_text(code)
    monkeypatch.chdir(folder)
    assert load_model(folder).weights
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    with pytest.raises(ModelFormatError, match="auto_map"):
        load_model(folder)
    assert not canary.exists()


def test_paths_that_are_no_model_say_what_to_give(tmp_path):
    with pytest.raises(ModelFormatError, match="there is no model"):
        load_model(tmp_path / "none.gguf")
    with pytest.raises(ModelFormatError, match=r"config\.json cannot be read"):
        load_model(tmp_path)
    with pytest.raises(ModelFormatError, match="give the folder"):
        load_model(GOLDENS / "llama" / "model.safetensors")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda m: m.update({"extra": "model-00001-of-00003.safetensors"}),
            "has no tensor 'extra'",
        ),
        (lambda m: m.pop("model.norm.weight"), r"'model\.norm\.weight', which .* puts elsewhere"),
        (lambda m: m.update({"model.norm.weight": "../x.safetensors"}), "no file name"),
        (lambda m: m.update({"model.norm.weight": "/etc/passwd"}), "no file name"),
        (lambda m: m.update({"model.norm.weight": 3}), "no file name"),
        (lambda m: m.update({"extra": "lost.safetensors"}), r"lost\.safetensors.*cannot be read"),
        (lambda m: m.clear(), "no weight_map"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(edit, message, tmp_path):
    folder = copy_of("mistral", tmp_path)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    edit(index["weight_map"])
    path.write_text(json.dumps(index))
    with pytest.raises(ModelFormatError, match=message):
        load_model(folder)
