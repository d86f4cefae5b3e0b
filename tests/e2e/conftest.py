"""One server for the tests that attack it from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.served import COMPLETIONS, LIMIT_S, NEIGHBOUR, idle, serving, text_of, until


@pytest.fixture(scope="session")
def client(smollm2_path: Path) -> Iterator[httpx.Client]:
    with (
        serving(smollm2_path) as (_, url),
        httpx.Client(base_url=url, timeout=LIMIT_S) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def expected(client: httpx.Client) -> str:
    """The neighbour's text without company."""
    return text_of(client.post(COMPLETIONS, json=NEIGHBOUR))


@pytest.fixture
def survives(client: httpx.Client, expected: str) -> Iterator[None]:
    """After a test: nothing runs or waits, all blocks are back, the next answer is right."""
    yield
    until(lambda: idle(client))
    assert text_of(client.post(COMPLETIONS, json=NEIGHBOUR)) == expected
