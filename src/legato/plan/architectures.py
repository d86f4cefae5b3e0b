"""Programs of models that are not here: their architecture without their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from legato.config import KVElement
from legato.errors import InvalidRequestError
from legato.models.fields import Fields
from legato.models.formats.strict_json import read_object
from legato.models.names import expected_weights
from legato.models.registry import hf_family
from legato.program.build import build_program
from legato.program.program import Program
from legato.tensor import Tensor, WeightFormat

_NOTHING = np.empty(0, np.uint8)


Config = Mapping[str, Any]


def _llama(
    hidden: int, ffn: int, layers: int, heads: int, kv_heads: int, others: Config | None = None
) -> Config:
    return {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 4096,
        **(others or {}),
    }


_LLAMA3 = {"vocab_size": 128256, "max_position_embeddings": 8192, "rope_theta": 500000.0}
_SMOL = {"vocab_size": 49152, "max_position_embeddings": 8192, "tie_word_embeddings": True}

CONFIGS: Mapping[str, Config] = {
    "llama-2-70b": _llama(8192, 28672, 80, 64, 8),
    "llama-2-13b": _llama(5120, 13824, 40, 40, 40),
    "llama-2-7b": _llama(4096, 11008, 32, 32, 32),
    "tinyllama-1.1b": _llama(2048, 5632, 22, 32, 4, {"max_position_embeddings": 2048}),
    "llama-3-70b": _llama(8192, 28672, 80, 64, 8, _LLAMA3),
    "llama-3-8b": _llama(4096, 14336, 32, 32, 8, _LLAMA3),
    "smollm2-1.7b": _llama(2048, 8192, 24, 32, 32, _SMOL),
    "smollm2-135m": _llama(576, 1536, 30, 9, 3, _SMOL),
}
"""The sizes in each model's config.json, as published with it."""


def hollow_program(
    name: str, weights: WeightFormat = WeightFormat.BF16, kv_dtype: KVElement = "bf16"
) -> Program:
    """The program of a model in `CONFIGS`, or of a config.json, with its matrices in `weights`.

    Enough for the op table; nothing can run it.

    Raises:
        InvalidRequestError: neither a known name nor a file.
        ModelFormatError: the file does not describe a supported model.
    """
    fields = Fields(_config(name))
    arch = hf_family(fields.text("model_type")).from_config(fields)
    tensors = {
        weight: _hollow(weight, shape, weights) for weight, shape in expected_weights(arch).items()
    }
    return build_program(
        arch, tensors, block_size=16, kv_dtype=kv_dtype, max_context=arch.max_context
    )


def _config(name: str) -> Config:
    if name in CONFIGS:
        return CONFIGS[name]
    path = Path(name)
    if path.is_dir():
        path /= "config.json"
    if not path.is_file():
        known = ", ".join(CONFIGS)
        raise InvalidRequestError(f"{name!r} is no config.json and none of {known}", "model")
    return read_object(path)


def _hollow(name: str, shape: tuple[int, ...], matrices: WeightFormat) -> Tensor:
    kind = matrices if len(shape) == 2 and not shape[1] % matrices.block else WeightFormat.F32
    return Tensor(name, shape, kind, _NOTHING)
