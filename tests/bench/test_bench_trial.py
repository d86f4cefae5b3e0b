"""Trials against a server of known capacity, and how they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from legato.bench.arrivals import Constant
from legato.bench.endpoint import Endpoint
from legato.bench.judge import Judge
from legato.bench.lengths import Fixed, Listed
from legato.bench.objectives import Objectives
from legato.bench.outcome import FailureKind
from legato.bench.replay import ReplayServer
from legato.bench.rule import Search
from legato.bench.run import Limits, Pending, Run
from legato.bench.script import Script, Step
from legato.bench.selfcheck import ClientCost
from legato.bench.serve import Measurement, drive, share_client_cost
from legato.bench.trial import Idleness, measure_capacity
from legato.bench.workload import Workload
from legato.clock import VirtualClock
from legato.errors import LegatoError
from legato.metrics.prefill import PrefillProfile

SECOND = 1_000_000_000
OBJECTIVES = Objectives(ttft_s=0.05, tbt_s=0.01)
QUICK = Script(steps=(Step(text="a"),))
STUCK = Script(silent=True)
SEARCH = Search(start=100.0, highest=400.0, precision=2.0, duration=0.2, longest=1.0)
MEASUREMENT = Measurement(OBJECTIVES, Limits(duration_s=60.0), timeout_s=5.0)


def workload(rate: float, number: int = 0) -> Workload:
    return Workload(
        arrivals=Constant(rate), prompt_words=Fixed(1), output_tokens=Fixed(1), seed=number
    )


def judged_run(stream: Workload, script: Script, objectives: Objectives) -> Run:
    """A run that would last a minute."""
    rule = replace(SEARCH, longest=60.0).rule(0.99, thorough=True)

    async def run() -> Run:
        async with ReplayServer([script]) as server:
            measurement = Measurement(objectives, MEASUREMENT.limits, rule=rule)
            (run,) = await drive([Endpoint(url=server.url)], stream, 500, measurement)
            return run

    return asyncio.run(run())


def test_a_run_ends_when_its_rate_is_known_to_be_kept() -> None:
    run = judged_run(workload(500), QUICK, Objectives(ttft_s=60.0))
    assert run.sending_ns >= 0.2 * SECOND
    assert all(outcome.succeeded for outcome in run.outcomes)
    assert run.cut_off == 0
    assert not run.interrupted


def test_a_run_ends_before_hopeless_answers_do() -> None:
    """Nothing is ever answered. Short requests are soon lost; long ones might still be fluid."""
    stream = replace(workload(500), output_tokens=Listed((1, 100_000)))
    run = judged_run(stream, STUCK, OBJECTIVES)
    assert {outcome.failure for outcome in run.outcomes} == {FailureKind.UNFINISHED}
    assert len(run.outcomes) >= 2
    assert run.cut_off > 0
    assert not run.pending
    assert not run.interrupted


def judge(objectives: Objectives) -> tuple[Judge, VirtualClock]:
    clock = VirtualClock()
    return Judge(SEARCH.rule(0.99, thorough=True), objectives, clock), clock


def test_a_request_is_lost_when_the_best_that_can_still_come_is_not_fluid() -> None:
    """9 tokens at 0.9: one miss of ten deadlines is allowed, so up to D_p + 9 D_d."""
    judging, clock = judge(Objectives(ttft_s=1.0, tbt_s=0.1, fluid=0.9))
    request = Pending(0, 9)
    clock.advance(1_900_000_000)
    assert not judging.is_lost(request)
    clock.advance(1)
    assert judging.is_lost(request)


def test_with_a_profile_nothing_is_lost_before_its_answer() -> None:
    judging, clock = judge(replace(OBJECTIVES, profile=PrefillProfile(0.1, 0.0, 0.0)))
    clock.advance(3600 * SECOND)
    assert not judging.is_lost(Pending(0, 9))


@contextmanager
def serving(*scripts: Script, parallel: int = 0) -> Iterator[Endpoint]:
    """A replayed server on a thread of its own."""
    ready, urls = threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with ReplayServer(scripts, parallel=parallel) as server:
            urls.append(server.url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield Endpoint(url=urls[0])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_capacity_never_exceeds_what_the_server_can_do() -> None:
    """One answer at a time, 4 ms each: 250 requests/s, and what short trials leave unseen."""
    script = Script(steps=(Step(after_ms=4, text="a"),))
    heard: list[float] = []
    with serving(script, parallel=1) as endpoint:
        capacity, documents = measure_capacity(
            endpoint, workload, SEARCH, MEASUREMENT, lambda _, point: heard.append(point.rate)
        )
    assert capacity.refuted is not None
    assert (capacity.rate or 0.0) < 300
    assert heard == [point.rate for point in capacity.points]
    assert len(documents) == len(heard)


def test_a_server_that_refuses_for_its_load_is_asked_again_until_it_is_idle() -> None:
    with serving(Script(status=503), QUICK) as endpoint:
        assert asyncio.run(Idleness(endpoint, timeout_s=5.0).wait())


def test_a_server_that_answers_nothing_is_told() -> None:
    refusing = Script(status=500)
    with serving(refusing) as endpoint, pytest.raises(LegatoError, match="not ready"):
        measure_capacity(endpoint, workload, SEARCH, MEASUREMENT, lambda document, point: None)


def test_a_run_without_tokens_keeps_what_the_client_cost():
    cost = ClientCost(cpu=0.1, cpu_us_per_token=30.0, loop_lag_ms=None)
    run = Run(0, cost=cost)
    share_client_cost([run])
    assert run.cost is cost
