"""A whole tiny model as GGUF bytes."""

from __future__ import annotations

import pytest
from tiny_gguf import write_model


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_model(tmp_path_factory.mktemp("gguf") / "model.gguf").read_bytes()
