"""The search for capacity, on a server whose capacity is known."""

from __future__ import annotations

import asyncio
import json

import pytest

from legato.bench.arrivals import Constant
from legato.bench.capacity import Capacity, Search, find_capacity
from legato.bench.endpoint import Endpoint
from legato.bench.lengths import Fixed
from legato.bench.load import Limits
from legato.bench.objectives import Objectives
from legato.bench.replay import ReplayServer
from legato.bench.script import Script, Step
from legato.bench.serve import Measurement, drive
from legato.bench.workload import Workload
from legato.errors import LegatoError


def cliff(limit: float) -> tuple[Capacity, list[tuple[float, int]]]:
    tried = []

    def trial(rate: float, number: int) -> tuple[int, int]:
        tried.append((rate, number))
        return (100 if rate <= limit else 50), 100

    return find_capacity(Search(start=1.0, precision=1.05), trial), tried


@pytest.mark.parametrize("limit", [0.3, 1.0, 5.7, 40.0])
def test_a_cliff_is_found_within_the_precision(limit: float) -> None:
    capacity, tried = cliff(limit)
    assert capacity.rate is not None
    assert capacity.refuted is not None
    assert capacity.rate <= limit < capacity.refuted <= capacity.rate * 1.05
    assert capacity.refuted_for_sure
    assert [point.rate for point in capacity.points] == sorted({rate for rate, _ in tried})


def test_a_near_miss_is_tried_again_before_it_counts() -> None:
    numbers = []

    def trial(rate: float, number: int) -> tuple[int, int]:
        numbers.append(number)
        return (98 if number == 0 else 100), 100

    capacity = find_capacity(Search(start=1.0, highest=1.0), trial)
    assert numbers == [0, 1]
    assert capacity.rate == 1.0
    assert capacity.points[0].requests == 200


def test_capacity_never_exceeds_what_the_server_can_do() -> None:
    """One answer at a time, 4 ms each: 250 requests/s, and 7 % more in trials this short."""
    script = Script(steps=(Step(after_ms=4, text="a"),))
    search = Search(start=100.0, highest=400.0, precision=1.3, max_trials=1)

    async def trial(rate: float, number: int) -> tuple[int, int]:
        workload = Workload(
            arrivals=Constant(rate), prompt_words=Fixed(1), output_tokens=Fixed(1), seed=number
        )
        measurement = Measurement(Objectives(ttft_s=0.02), None, Limits(duration_s=0.3))
        async with ReplayServer([script], parallel=1) as server:
            (run,) = await drive([Endpoint(url=server.url)], workload, rate, measurement)
        return measurement.objectives.fluid_requests(run.outcomes), len(run.outcomes)

    capacity = find_capacity(search, lambda rate, number: asyncio.run(trial(rate, number)))
    assert capacity.refuted is not None
    assert (capacity.rate or 0.0) < 300


def test_no_rate_will_do() -> None:
    capacity = find_capacity(Search(), lambda rate, number: (0, 10))
    assert capacity.rate is None
    assert json.loads(json.dumps(capacity.to_json()))["rate"] is None


def test_an_interrupted_search_keeps_its_curve() -> None:
    capacity = find_capacity(Search(), lambda rate, number: (10, 10) if rate < 3 else None)
    assert capacity.interrupted
    assert capacity.rate == 2.0


def test_a_trial_without_requests_is_an_error() -> None:
    with pytest.raises(LegatoError, match="longer"):
        find_capacity(Search(), lambda rate, number: (0, 0))


def test_a_search_that_cannot_end_is_refused() -> None:
    with pytest.raises(LegatoError):
        Search(precision=1.0)
