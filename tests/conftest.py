"""Fixtures that the whole suite shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from legato.errors import FetchError


def _fetch(name: str) -> Path:
    from legato.models.hub import resolve_model

    try:
        return resolve_model(name)
    except FetchError as error:
        pytest.skip(f"model {name} could not be fetched: {error}")


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    return _fetch("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def gemma_path() -> Path:
    return _fetch("gemma-3-270m")
