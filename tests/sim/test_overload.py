"""More requests than the machine can serve: the admitted are served well, the rest hear early."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from legato.assemble import simulate_engine
from legato.bench.simulate import Workload, arrivals
from legato.clock import VirtualClock
from legato.config import EngineConfig
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


def serve(program: Program, times: float, **config: object) -> Served:
    """The workload at `times` its rate, in an open loop."""
    clock = VirtualClock()
    settings = EngineConfig(num_kv_blocks=4000, prefix_cache=False, ttft_ms=TTFT_MS, **config)
    engine = simulate_engine(program, DEFAULT_PROFILE, settings, clock)
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
    assert served.goodput < 0.5 * serve(program, 3, patience=1).goodput


@pytest.mark.parametrize("times", [2, 5])
def test_overload_costs_no_goodput_and_the_admitted_do_not_wait_long(program, times):
    peak = serve(program, 1, patience=1).goodput
    served = serve(program, times, patience=1)
    assert served.refused > 0
    assert served.goodput >= 0.9 * peak
    assert max(served.ttft_ms) <= 2 * TTFT_MS


def test_patience_bounds_the_wait_of_the_admitted(program):
    served = serve(program, 5, patience=4)
    assert served.refused > 0
    assert TTFT_MS < max(served.ttft_ms) < 1.5 * 4 * TTFT_MS


def test_little_is_refused_where_the_machine_keeps_up(program):
    assert serve(program, 0.5, patience=1).refused == 0
