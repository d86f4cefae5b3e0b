"""One world for the whole folder: its tests leave it as they found it, and check that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cases.bodies import COMPLETIONS
from cases.world import NEIGHBOUR, World, text_of


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(scope="session")
def alone(world: World) -> str:
    """The neighbour's text without company."""
    (answer,) = world.run(world.client.start_post(COMPLETIONS, NEIGHBOUR))
    return text_of(answer)
