"""A long prompt arrives while streams run: the streams stay on time, and little throughput is lost.

In virtual time, with a model of 135 million weights on the default machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from legato.assemble import simulate_engine
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Objectives, Request, SamplingParams, TokenEvent
from legato.cost.machine import DEFAULT_PROFILE
from legato.engine import Engine
from legato.program.program import Program
from sim.hollow import hollow_program

MS = 1_000_000
OBJECTIVE = Objectives(tbt_ns=60 * MS)
STREAMS, PROMPT, STREAM_OUTPUT = 8, 4000, 400


@pytest.fixture(scope="module")
def program() -> Program:
    return hollow_program()


@dataclass
class Run:
    """What the streams and the long prompt met."""

    engine: Engine
    stream_gaps: list[int]
    ttft_ns: int
    end_ns: int


def long_prompt_beside_streams(program, **config) -> Run:
    clock = VirtualClock()
    settings = EngineConfig(num_kv_blocks=2000, prefix_cache=False, **config)
    engine = simulate_engine(program, DEFAULT_PROFILE, settings, clock)
    for number in range(STREAMS):
        engine.add(request(f"s{number}", 64, STREAM_OUTPUT, OBJECTIVE))
    stamps: dict[str, list[int]] = {}
    while len(stamps) < STREAMS:
        note(stamps, engine.step())
    arrival_ns = clock.now_ns()
    engine.add(request("long", PROMPT, 8, Objectives()))
    while engine.has_work:
        note(stamps, engine.step())
    gaps = [
        after - before
        for name, times in stamps.items()
        if name != "long"
        for before, after in pairwise(times)
    ]
    return Run(engine, gaps, stamps["long"][0] - arrival_ns, clock.now_ns())


def request(name: str, prompt: int, output: int, objectives: Objectives) -> Request:
    params = SamplingParams(max_tokens=output, ignore_eos=True)
    tokens = tuple(i % 100 for i in range(prompt))
    return Request(id=name, prompt=tokens, params=params, objectives=objectives)


def note(stamps: dict[str, list[int]], events: list[TokenEvent]) -> None:
    for event in events:
        stamps.setdefault(event.request_id, []).append(event.time_ns)


def test_a_long_prompt_does_not_stall_the_streams(program):
    run = long_prompt_beside_streams(program)
    assert max(run.stream_gaps) <= 1.5 * OBJECTIVE.tbt_ns


def test_without_deadlines_it_does(program):
    run = long_prompt_beside_streams(program, scheduling="throughput")
    assert max(run.stream_gaps) > 3 * OBJECTIVE.tbt_ns


def test_deadlines_cost_little_throughput(program):
    """All of the work, streams and prompt, takes at most a ninth longer."""
    deadline = long_prompt_beside_streams(program)
    throughput = long_prompt_beside_streams(program, scheduling="throughput")
    assert throughput.end_ns >= 0.9 * deadline.end_ns


def test_a_step_is_predicted_exactly_in_virtual_time(program):
    run = long_prompt_beside_streams(program)
    assert run.engine._times.correction.error < 1e-6
    assert run.engine._times.correction.overall.factor == pytest.approx(1.0)
