"""Makes tests/model/goldens: what transformers computes, for Legato's loaders and reference.

    PYTHONPATH=src python scripts/make_goldens.py [MODEL.gguf ...]

needs torch and transformers, which Legato itself does not. Without arguments it makes the tiny
random models, one folder for each architecture, with their logits. With the two real GGUF files
it makes their goldens: transformers on the weights as `legato.dequantize` gives them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM as Auto
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from legato.dequantize import dequantize
from legato.models.arch import ArchConfig
from legato.models.family import translate
from legato.models.load import load_model
from legato.models.model import Model
from legato.models.registry import hf_family
from legato.text.tokenizer import load_tokenizer

GOLDENS = Path(__file__).parent.parent / "tests" / "model" / "goldens"
TINY_TOKENS = 40  # more than twice the window
WINDOW = 16
SIZES = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 1000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
GEMMA3_ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 8.0},
}
# Name → config, type of the stored weights, and the size at which files are cut into shards.
TINY: dict[str, tuple[PretrainedConfig, torch.dtype, str]] = {
    "llama": (LlamaConfig(**SIZES), torch.float32, "1GB"),
    "llama3": (
        LlamaConfig(**SIZES, rope_parameters=LLAMA3_ROPE, tie_word_embeddings=True),
        torch.float16,
        "1GB",
    ),
    "mistral": (MistralConfig(**SIZES, sliding_window=WINDOW), torch.bfloat16, "20KB"),
    "qwen2": (Qwen2Config(**SIZES, tie_word_embeddings=True), torch.bfloat16, "1GB"),
    "qwen3": (
        Qwen3Config(**SIZES, head_dim=16, rope_parameters=YARN_ROPE),
        torch.bfloat16,
        "1GB",
    ),
    "gemma2": (
        Gemma2Config(
            **SIZES,
            head_dim=16,
            query_pre_attn_scalar=24,
            sliding_window=WINDOW,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=3.0,
        ),
        torch.bfloat16,
        "1GB",
    ),
    "gemma3": (
        Gemma3TextConfig(
            **{**SIZES, "num_hidden_layers": 7, "num_key_value_heads": 1},
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=WINDOW,
            rope_parameters=GEMMA3_ROPE,
        ),
        torch.bfloat16,
        "1GB",
    ),
}
TEXT = (
    "The tide had gone out far beyond the harbour wall, and the boats lay on their sides in the "
    "mud like tired animals. Marta counted them twice: eleven, where on Sunday there had been "
    "twelve. She wrote the number in her book, closed it, and walked along the quay to the "
    "office, where a lamp was still burning. def count(boats): return len([b for b in boats if "
    "b.present]). It was 6:45 in the morning; the café would open in fifteen minutes. "
)
TOP, RANDOM = 64, 256


def make_tiny(name: str) -> None:
    """One folder: config.json, weights, and golden.npz with token_ids [T], logits [T, vocab]."""
    config, dtype, shard = TINY[name]
    torch.manual_seed(sum(map(ord, name)))
    model = Auto.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            randomise(parameter_name, parameter, config.model_type.startswith("gemma"))
            # Not model.to(dtype), which would round the rope frequencies as well.
            parameter.copy_(parameter.to(dtype))
    token_ids = torch.randint(3, config.vocab_size, (TINY_TOKENS,))
    folder = GOLDENS / name
    shutil.rmtree(folder, ignore_errors=True)
    np.savez(folder_file(folder), token_ids=token_ids.numpy(), logits=logits(model, token_ids))
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink(missing_ok=True)


def folder_file(folder: Path) -> Path:
    """The golden in `folder`, which is made."""
    folder.mkdir(parents=True)
    return folder / "golden.npz"


def randomise(name: str, parameter: torch.Tensor, norm_around_zero: bool) -> None:
    """Weights for which every part of the model matters to the logits."""
    if parameter.ndim == 2:
        scale = 1.0 if "embed" in name else 1.5 * parameter.shape[1] ** -0.5
        parameter.normal_(0, scale)
    elif "norm" in name:
        parameter.normal_(0.0 if norm_around_zero else 1.0, 0.3)
    else:
        parameter.normal_(0, 0.5)


def logits(model: PreTrainedModel, token_ids: torch.Tensor) -> np.ndarray:
    """Logits of every position, f32 [T, vocab]."""
    with torch.no_grad():
        values: np.ndarray = model(token_ids[None]).logits[0].to(torch.float32).numpy()
    return values


def make_real(path: Path) -> None:
    """A file beside the folders, named after the architecture.

    token_ids [T]; positions [P]; top_ids, top_logits [P, 64]; random_ids [256], and
    random_logits [P, 256].
    """
    ours = load_model(path)
    model_type, num_tokens, positions = REAL[ours.arch.family]
    tokens = load_tokenizer(ours.tokenizer).encode(TEXT * 8, add_special_tokens=True)[:num_tokens]
    model = transformers_model(ours, model_type)
    chosen = logits(model, torch.tensor(tokens))[positions]
    top = np.argsort(-chosen, axis=1)[:, :TOP]
    random_ids = np.random.default_rng(0).choice(ours.arch.vocab_size, RANDOM, replace=False)
    np.savez(
        GOLDENS / f"real_{ours.arch.family}.npz",
        token_ids=np.array(tokens, np.int32),
        positions=np.array(positions, np.int32),
        top_ids=top.astype(np.int32),
        top_logits=np.take_along_axis(chosen, top, axis=1),
        random_ids=random_ids.astype(np.int32),
        random_logits=chosen[:, random_ids],
    )


def transformers_model(ours: Model, model_type: str) -> PreTrainedModel:
    """The transformers model with the weights of a GGUF file, in f32."""
    config = CONFIGS[model_type](ours.arch)
    model = Auto.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    state = model.state_dict()
    for name in state:
        canonical = translate(name, hf_family(model_type).hf_names)
        if canonical is not None and canonical in ours.weights:
            state[name] = torch.from_numpy(unconverted(ours, canonical))
        elif canonical != "head.weight":
            raise ValueError(f"{name} has no counterpart")
    if ours.arch.tied_head:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model


def unconverted(ours: Model, name: str) -> np.ndarray:
    """A weight as it was before the conversion to GGUF."""
    values = dequantize(ours.weights[name])
    arch = ours.arch
    if arch.layers[0].rope.style == "interleaved" and name.endswith((".q.weight", ".k.weight")):
        pairs = values.reshape(-1, arch.head_dim // 2, 2, arch.hidden_size)
        return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))
    if arch.family == "gemma" and name.endswith("norm.weight"):
        return values - 1
    return values


def sizes(arch: ArchConfig) -> dict[str, object]:
    """What all configs share."""
    return {
        "vocab_size": arch.vocab_size,
        "hidden_size": arch.hidden_size,
        "intermediate_size": arch.ffn_size,
        "num_hidden_layers": len(arch.layers),
        "num_attention_heads": arch.num_heads,
        "num_key_value_heads": arch.num_kv_heads,
        "head_dim": arch.head_dim,
        "max_position_embeddings": arch.max_context,
        "rms_norm_eps": arch.norm_eps,
        "tie_word_embeddings": arch.tied_head,
    }


# Hyper-parameters that are not sizes are written out, from the models' cards: a second source.
CONFIGS: dict[str, Callable[[ArchConfig], PretrainedConfig]] = {
    "llama": lambda arch: LlamaConfig(**sizes(arch), rope_theta=100_000.0),
    "gemma3_text": lambda arch: Gemma3TextConfig(
        **sizes(arch), sliding_window=512, query_pre_attn_scalar=256
    ),
}
REAL = {
    "llama": ("llama", 192, [0, 1, 50, 191]),
    "gemma": ("gemma3_text", 528, [0, 1, 300, 511, 512, 527]),
}

if __name__ == "__main__":
    for real in sys.argv[1:]:
        make_real(Path(real))
    if not sys.argv[1:]:
        for tiny in TINY:
            make_tiny(tiny)
