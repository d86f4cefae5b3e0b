"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

# Before numpy is imported: BLAS threads that spin against each other make small products crawl.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from legato.models.hub import resolve_model


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    return resolve_model("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def gemma_path() -> Path:
    return resolve_model("gemma-3-270m")
