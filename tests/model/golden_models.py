"""Logits of a loaded model by the reference backend, and the golden models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from legato.backends.base import StepInput
from legato.backends.reference import ReferenceBackend
from legato.config import EngineConfig
from legato.models.model import Model
from legato.program.build import build_program

GOLDENS = Path(__file__).parent / "goldens"
TINY = ("llama", "llama3", "mistral", "qwen2", "qwen3", "gemma2", "gemma3")
BLOCK_SIZE = 16


class Golden(NamedTuple):
    """What transformers computed for the model in `folder`."""

    folder: Path
    token_ids: np.ndarray
    logits: np.ndarray


def load_golden(name: str) -> Golden:
    folder = GOLDENS / name
    with np.load(folder / "golden.npz") as arrays:
        return Golden(folder, arrays["token_ids"], arrays["logits"])


def reference_logits(
    model: Model, token_ids: Sequence[int] | np.ndarray, positions: Sequence[int] | None = None
) -> np.ndarray:
    """f32 [positions, vocab] of one sequence in one step; all positions by default."""
    count = len(token_ids)
    program = build_program(
        model.arch, model.weights, block_size=BLOCK_SIZE, kv_dtype="f32", max_context=count
    )
    backend = ReferenceBackend(
        program, model.weights, EngineConfig(backend="reference", kv_dtype="f32")
    )
    groups, blocks = len(program.kv.groups), -(-count // BLOCK_SIZE)
    backend.allocate_kv(groups * blocks)
    step = StepInput(
        token_ids=np.asarray(token_ids, np.int32),
        positions=np.arange(count, dtype=np.int32),
        query_starts=np.array([0, count], np.int32),
        kv_lengths=np.array([count], np.int32),
        block_tables=np.arange(groups * blocks, dtype=np.int32).reshape(groups, 1, blocks),
        output_rows=np.asarray(range(count) if positions is None else positions, np.int32),
        want_logits=True,
    )
    logits = backend.run(step).logits
    backend.close()
    assert logits is not None
    return logits
