"""The client says when the figures may be its own."""

from __future__ import annotations

import pytest

from legato.bench.selfcheck import ClientCost
from legato.metrics.latency import Distribution

LATE = Distribution.of([9.0] * 10)
ON_TIME = Distribution.of([1.0] * 10)


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (ClientCost(0.6, 10.0, ON_TIME, stamped_by_kernel=True), "bottleneck"),
        (ClientCost(0.1, 10.0, LATE, stamped_by_kernel=False), "stamps are late"),
    ],
)
def test_a_client_that_may_be_the_bottleneck_says_so(cost: ClientCost, words: str) -> None:
    (warning,) = cost.warnings()
    assert words in warning


@pytest.mark.parametrize(
    "cost",
    [
        ClientCost(0.1, None, None),
        ClientCost(0.1, 10.0, ON_TIME),
        ClientCost(0.1, 10.0, LATE, stamped_by_kernel=True),
    ],
)
def test_a_client_that_keeps_up_says_nothing(cost: ClientCost) -> None:
    assert cost.warnings() == []
