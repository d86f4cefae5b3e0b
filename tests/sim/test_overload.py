"""More requests than the machine can serve: the admitted are served well, the rest hear early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import pytest

from legato.assemble import simulate_engine
from legato.backends.base import StepInput, StepOutput
from legato.bench.simulate import Workload, arrivals
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Objectives
from legato.cost.machine import DEFAULT_PROFILE
from legato.errors import OverloadedError
from legato.program.program import Program
from sim.hollow import hollow_program

TTFT_MS = 2000.0
LOAD = Workload(rate=3.5, seconds=60.0, prompt=(100, 400), output=(20, 60))
"""About as much as the machine can do."""


@dataclass
class Served:
    """Of one run: TTFTs of those admitted in ms, refusals, and requests on time a second."""

    ttft_ms: list[float]
    refused: int
    goodput: float


@pytest.fixture(scope="module")
def program() -> Program:
    return hollow_program()


Run = Callable[[StepInput], StepOutput]
Stretch = Callable[[float], float]
"""By how much longer a step takes that begins at a time in seconds."""


def stretched(run: Run, clock: VirtualClock, stretch: Stretch) -> Run:
    """`run` on a machine that others slow down."""

    def run_longer(step: StepInput) -> StepOutput:
        start_ns = clock.now_ns()
        output = run(step)
        took_ns = clock.now_ns() - start_ns
        clock.advance(int(took_ns * (stretch(start_ns / 1e9) - 1)))
        return output

    return run_longer


def serve(
    program: Program, times: float, *, stretch: Stretch | None = None, **config: object
) -> Served:
    """The workload at `times` its rate, in an open loop."""
    clock = VirtualClock()
    settings = EngineConfig(num_kv_blocks=4000, prefix_cache=False, ttft_ms=TTFT_MS, **config)
    engine = simulate_engine(program, DEFAULT_PROFILE, settings, clock)
    if stretch is not None:
        engine.backend.run = stretched(engine.backend.run, clock, stretch)
    arrived: dict[str, int] = {}
    first: dict[str, int] = {}
    refused = 0
    coming = list(arrivals(replace(LOAD, rate=LOAD.rate * times), program.vocab_size))
    while coming or engine.has_work:
        if not engine.has_work:
            clock.advance(max(0, coming[0][0] - clock.now_ns()))
        while coming and coming[0][0] <= clock.now_ns():
            arrival_ns, request = coming.pop(0)
            try:
                engine.check_load(request, engine.load())
            except OverloadedError:
                refused += 1
                continue
            arrived[request.id] = arrival_ns
            engine.add(request)
        for event in engine.step():
            first.setdefault(event.request_id, event.time_ns)
    waits = [(first[name] - arrived[name]) / 1e6 for name in arrived]
    return Served(waits, refused, sum(wait <= TTFT_MS for wait in waits) / LOAD.seconds)


def test_without_refusals_everybody_is_late(program):
    served = serve(program, 3, patience=0)
    assert served.refused == 0
    assert served.goodput < 0.5 * serve(program, 3).goodput


@pytest.mark.parametrize("times", [2, 5, 10])
def test_overload_costs_no_goodput_and_the_admitted_are_on_time(program, times):
    peak = serve(program, 1).goodput
    served = serve(program, times)
    assert served.refused > 0
    assert served.goodput >= 0.9 * peak
    assert max(served.ttft_ms) <= TTFT_MS


def test_overload_costs_no_goodput_where_steps_take_longer_than_predicted(program):
    """Half as long again, by chance more or less: the margin of `patience` is for that."""
    random = Random(1)

    def uneven(time_s: float) -> float:
        return random.uniform(1.1, 1.9)

    peak = serve(program, 1, stretch=uneven).goodput
    served = serve(program, 10, stretch=uneven)
    assert served.goodput >= 0.9 * peak
    late = sum(wait > TTFT_MS for wait in served.ttft_ms)
    assert late <= 0.05 * len(served.ttft_ms)


@pytest.mark.parametrize("since_s", [0.0, 20.0])
def test_a_machine_that_others_slow_down_for_some_seconds_admits_less(program, since_s):
    """Only those are late who were admitted before it was known."""

    def slow(time_s: float) -> float:
        return 2.0 if since_s <= time_s < since_s + 10 else 1.0

    served = serve(program, 1.2, stretch=slow)
    late = sum(wait > TTFT_MS for wait in served.ttft_ms)
    assert late <= 0.04 * len(served.ttft_ms)
    assert served.goodput >= 0.85 * serve(program, 1.2).goodput


def test_who_wants_tokens_faster_than_the_streams_beside_it_allow_is_refused(program):
    clock = VirtualClock()
    engine = simulate_engine(program, DEFAULT_PROFILE, EngineConfig(num_kv_blocks=4000), clock)
    for _, request in zip(range(40), arrivals(LOAD, program.vocab_size), strict=False):
        engine.add(request[1])
    while engine.load().queue:
        engine.step()
    request = replace(request[1], id="x", prompt=(1, 2, 3), objectives=Objectives(tbt_ns=1))
    with pytest.raises(OverloadedError, match="a token would come every"):
        engine.check_load(request, engine.load())
    engine.check_load(replace(request, objectives=Objectives(tbt_ns=10**9)), engine.load())
    engine.check_load(replace(request, objectives=Objectives()), engine.load())


def test_patience_bounds_the_wait_of_the_admitted(program):
    served = serve(program, 5, patience=4)
    assert served.refused > 0
    assert TTFT_MS < max(served.ttft_ms) < 1.5 * 4 * TTFT_MS


def test_little_is_refused_where_the_machine_keeps_up(program):
    assert serve(program, 0.5).refused == 0
