"""Loaders and reference backend together equal transformers, on every architecture.

`scripts/make_goldens.py` made the goldens. The logits of the tiny models reach 20, so that
1e-4 is some float32 roundings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf_files import write_gguf_model
from golden_models import GOLDENS, reference_logits

from legato.models.load import load_model

TINY_TOLERANCE = 1e-4
REAL_TOLERANCE = 2e-3


def test_safetensors_logits_equal_those_of_transformers(golden):
    logits = reference_logits(load_model(golden.folder), golden.token_ids)
    assert np.abs(logits - golden.logits).max() < TINY_TOLERANCE


def test_gguf_logits_equal_those_of_transformers(golden, tmp_path):
    path = write_gguf_model(golden.folder, tmp_path / "model.gguf")
    logits = reference_logits(load_model(path), golden.token_ids)
    assert np.abs(logits - golden.logits).max() < TINY_TOLERANCE


@pytest.mark.real_model
def test_smollm2_logits_equal_those_of_transformers(smollm2_path):
    check_real(smollm2_path, "real_llama.npz")


@pytest.mark.real_model
def test_gemma_3_logits_equal_those_of_transformers_beyond_its_window(gemma_path):
    check_real(gemma_path, "real_gemma.npz")


def check_real(path: Path, name: str) -> None:
    with np.load(GOLDENS / name) as golden:
        logits = reference_logits(load_model(path), golden["token_ids"], golden["positions"])
        top = np.take_along_axis(logits, golden["top_ids"], axis=1)
        assert np.abs(top - golden["top_logits"]).max() < REAL_TOLERANCE
        random = logits[:, golden["random_ids"]]
        assert np.abs(random - golden["random_logits"]).max() < REAL_TOLERANCE
