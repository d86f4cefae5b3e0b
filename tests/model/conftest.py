"""The tiny golden models as a fixture."""

from __future__ import annotations

import pytest
from golden_models import TINY, Golden, load_golden


@pytest.fixture(params=TINY)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Each tiny model in turn."""
    return load_golden(request.param)
