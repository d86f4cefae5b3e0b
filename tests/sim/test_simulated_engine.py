"""The whole engine in virtual time on the simulated backend: a workload, its times, its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from legato.assemble import simulate_engine
from legato.bench.simulate import Workload, arrivals, simulate
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.cost.machine import DEFAULT_PROFILE
from model.tiny import tiny_program

LOAD = Workload(rate=50.0, seconds=4.0, prompt=(4, 60), output=(2, 30))
SLOW = DEFAULT_PROFILE.times_as_fast(0.005)


@pytest.fixture(scope="module")
def program():
    return tiny_program(max_context=128)


def run(program, profile=SLOW, workload=LOAD, **config):
    clock = VirtualClock()
    settings = EngineConfig(**({"num_kv_blocks": 400} | config))
    engine = simulate_engine(program, profile, settings, clock)
    figures = simulate(engine, clock, workload)
    engine.check_integrity()
    assert engine.stats().used_blocks == 0
    return figures


def test_the_same_workload_gives_the_same_steps_and_times(program):
    assert run(program) == run(program)
    assert run(program) != run(program, workload=replace(LOAD, seed=2))


def test_every_request_gets_its_tokens(program):
    figures = run(program)
    wanted = [request.params.max_tokens for _, request in arrivals(LOAD, program.vocab_size)]
    assert figures.requests == len(wanted)
    assert figures.output_tokens == sum(wanted)


def test_a_small_pool_makes_requests_wait_and_still_serves_everything(program):
    roomy = run(program)
    tight = run(program, num_kv_blocks=24)
    assert tight.output_tokens == roomy.output_tokens
    assert tight.ttft_s.p99 > roomy.ttft_s.p99


def test_a_faster_machine_is_faster_in_every_latency(program):
    slow, fast = run(program), run(program, SLOW.times_as_fast(4))
    assert fast.ttft_s.p50 < slow.ttft_s.p50 / 2
    assert fast.tbt_s.p50 < slow.tbt_s.p50 / 2


def test_overload_takes_longer_than_the_arrivals(program):
    overloaded = run(program, SLOW.times_as_fast(0.1))
    assert overloaded.virtual_s > 1.5 * LOAD.seconds
    assert overloaded.ttft_s.p99 > 1.0


def test_arrivals_are_poisson_in_rate_and_order(program):
    times = [now for now, _ in arrivals(replace(LOAD, seconds=200.0), program.vocab_size)]
    assert times == sorted(times)
    assert abs(len(times) / 200.0 - LOAD.rate) < 2.0
