"""Tiny random models: every architecture variation at a size that runs in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np

from legato.config import KVElement
from legato.models.arch import ArchConfig, LayerConfig, RopeConfig
from legato.models.names import expected_weights
from legato.program.build import build_program
from legato.program.program import Program
from legato.tensor import Tensor, WeightFormat

HEAD_DIM = 16


def rope(theta: float = 10_000.0, style: str = "half", dims: int = HEAD_DIM) -> RopeConfig:
    frequencies = tuple(theta ** (-2 * i / dims) for i in range(dims // 2))
    return RopeConfig(frequencies=frequencies, style=style)


def layers(*windows: int | None, rope_config: RopeConfig | None = None) -> tuple[LayerConfig, ...]:
    return tuple(LayerConfig(rope=rope_config or rope(), window=window) for window in windows)


_GEMMA = {"activation": "gelu_tanh", "embed_scale": 8.0, "post_norms": True, "tied_head": True}

# What `tiny_model` can be asked for: one entry for each family and each of its quirks.
VARIATIONS: Mapping[str, Mapping[str, Any]] = {
    "llama": {"layers": layers(None, None, rope_config=rope(style="interleaved"))},
    "llama_tied": {"tied_head": True, "num_heads": 6, "num_kv_heads": 2},
    "mistral": {"layers": layers(24, 24)},
    "partial_rope": {"layers": layers(None, None, rope_config=rope(dims=8))},
    "qwen2": {"family": "qwen2", "qkv_bias": True, "tied_head": True},
    "all_biases": {"qkv_bias": True, "output_bias": True},
    "qwen3": {"family": "qwen3", "qk_norm": True, "num_kv_heads": 4},
    "gemma2": {
        **_GEMMA,
        "family": "gemma2",
        "layers": layers(20, None, 20, None),
        "attention_soft_cap": 5.0,
        "logit_soft_cap": 3.0,
    },
    "gemma3": {
        **_GEMMA,
        "family": "gemma3",
        "layers": layers(20, 20, None, 20, 20, None),
        "qk_norm": True,
        "norm_weight_offset": 1.0,
        "num_kv_heads": 1,
    },
}


def tiny_arch(overrides: Mapping[str, Any] | None = None) -> ArchConfig:
    """A two-layer Llama of width 64 with `overrides` of `ArchConfig` fields."""
    fields: dict[str, Any] = {
        "family": "llama",
        "vocab_size": 160,
        "hidden_size": 64,
        "ffn_size": 96,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": HEAD_DIM,
        "layers": layers(None, None),
        "max_context": 256,
        "norm_eps": 1e-5,
        "activation": "silu",
        "attention_scale": HEAD_DIM**-0.5,
    }
    return ArchConfig(**{**fields, **(overrides or {})})


def tiny_model(
    arch_overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    weight_format: WeightFormat = WeightFormat.F32,
) -> tuple[ArchConfig, dict[str, Tensor]]:
    """A random model; its matrices are in `weight_format`, vectors always in f32.

    K-quants need rows of whole blocks: override hidden_size and ffn_size with multiples of 256
    and num_heads * head_dim likewise.
    """
    arch = tiny_arch(arch_overrides)
    rng = np.random.default_rng(seed)
    weights = {
        name: _random_weight(name, shape, arch, weight_format, rng)
        for name, shape in expected_weights(arch).items()
    }
    return arch, weights


def tiny_program(
    arch_overrides: Mapping[str, Any] | None = None,
    *,
    weight_format: WeightFormat = WeightFormat.F32,
    kv_dtype: KVElement = "f16",
    max_context: int = 256,
) -> Program:
    """The program of such a model, with blocks of 16 tokens."""
    arch, weights = tiny_model(arch_overrides, weight_format=weight_format)
    return build_program(arch, weights, block_size=16, kv_dtype=kv_dtype, max_context=max_context)


def f32_tensor(name: str, values: np.ndarray) -> Tensor:
    """A tensor that holds exactly `values` as f32."""
    values = np.ascontiguousarray(values, "<f4")
    return Tensor(name, values.shape, WeightFormat.F32, _read_only(values))


def random_matrix(
    name: str, shape: tuple[int, int], weight_format: WeightFormat, rng: np.random.Generator
) -> Tensor:
    """A matrix whose elements are about N(0, 1 / columns), in any format."""
    values = (rng.standard_normal(shape) / np.sqrt(shape[1])).astype(np.float32)
    if weight_format is WeightFormat.F32:
        return f32_tensor(name, values)
    if weight_format in _RANDOM_SCALES:
        data = _random_k_quant(shape, weight_format, rng)
    else:
        kind = gguf.GGMLQuantizationType[weight_format.name]
        data = gguf.quants.quantize(values, kind)
    return Tensor(name, shape, weight_format, _read_only(data))


# Where the f16 scales of a K-quant block lie, and the values that make elements of order 1.
_RANDOM_SCALES: Mapping[WeightFormat, Mapping[int, float]] = {
    WeightFormat.Q4_K: {0: 0.005, 2: 0.03},
    WeightFormat.Q5_K: {0: 0.0025, 2: 0.03},
    WeightFormat.Q6_K: {208: 0.001},
}


def _random_k_quant(
    shape: tuple[int, int], weight_format: WeightFormat, rng: np.random.Generator
) -> np.ndarray:
    """Random bytes with sensible scales: every byte pattern is a valid K-quant block."""
    rows, columns = shape
    blocks = rows * columns // weight_format.block
    data = rng.integers(0, 256, (blocks, weight_format.block_bytes), np.uint8)
    for offset, value in _RANDOM_SCALES[weight_format].items():
        scales = value / np.sqrt(columns) * rng.uniform(0.5, 1.5, (blocks, 1))
        data[:, offset : offset + 2] = scales.astype("<f2").view(np.uint8)
    return data.reshape(rows, -1)


def _random_weight(
    name: str,
    shape: tuple[int, ...],
    arch: ArchConfig,
    weight_format: WeightFormat,
    rng: np.random.Generator,
) -> Tensor:
    if len(shape) == 2:
        return random_matrix(name, (shape[0], shape[1]), weight_format, rng)
    values = 0.1 * rng.standard_normal(shape)
    if name.endswith("norm.weight"):
        values += 1 - arch.norm_weight_offset
    return f32_tensor(name, values)


def _read_only(values: np.ndarray) -> np.ndarray:
    data = values.reshape(-1).view(np.uint8)
    data.flags.writeable = False
    return data
