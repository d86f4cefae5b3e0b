"""Programs of models that are not there: real sizes, no weights. Enough to simulate them."""

from __future__ import annotations

import numpy as np

from legato.models.arch import ArchConfig, LayerConfig, RopeConfig
from legato.models.names import expected_weights
from legato.program.build import build_program
from legato.program.program import Program
from legato.tensor import Tensor, WeightFormat

_NOTHING = np.empty(0, np.uint8)


def hollow_program(max_context: int = 8192) -> Program:
    """The program of a Llama with 135 million weights (SmolLM2-135M's sizes), in 4-bit blocks."""
    rope = RopeConfig(frequencies=tuple(1e5 ** (-i / 32) for i in range(32)), style="interleaved")
    arch = ArchConfig(
        family="llama",
        vocab_size=49_152,
        hidden_size=576,
        ffn_size=1536,
        num_heads=9,
        num_kv_heads=3,
        head_dim=64,
        layers=(LayerConfig(rope=rope),) * 30,
        max_context=max_context,
        norm_eps=1e-5,
        activation="silu",
        attention_scale=0.125,
        tied_head=True,
    )
    weights = {name: _hollow(name, shape) for name, shape in expected_weights(arch).items()}
    return build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=max_context)


def _hollow(name: str, shape: tuple[int, ...]) -> Tensor:
    matrix = len(shape) == 2
    return Tensor(name, shape, WeightFormat.Q4_1 if matrix else WeightFormat.F32, _NOTHING)
