"""The engine's running account: batches, work, deadlines, predictions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from fake_backend import finish_all, make_engine, make_request

from legato.assemble import simulate_engine
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.cost.machine import DEFAULT_PROFILE
from legato.metrics.fluidity import Deadlines, fluidity
from legato.program.ops import StepShape
from sim.hollow import hollow_program

MS = 1_000_000


@pytest.mark.parametrize("stall", [0, 3, 60])
def test_deadlines_and_fluidity_are_those_of_the_definition(stall):
    engine, backend = make_engine(ttft_ms=40, tbt_ms=25)
    delays = {4: 500 * MS * bool(stall), stall: 200 * MS}
    backend.fault = lambda run: engine._clock.advance(20 * MS + delays.get(run, 0))
    events = finish_all(engine, make_request(max_tokens=70))["a", 0]
    stamps = [0, *(event.time_ns for event in events)]
    gaps = [after - before for before, after in pairwise(stamps)]
    expected = fluidity(gaps, Deadlines(prefill_ns=40 * MS, decode_ns=25 * MS))
    stats = engine.stats()
    assert stats.fluidity == (pytest.approx(expected.index),)
    assert stats.deadlines_missed == expected.missed
    assert stats.deadlines_met == expected.total - expected.missed


def test_the_last_step_is_described_with_its_work_and_prediction():
    program = hollow_program()
    clock = VirtualClock()
    engine = simulate_engine(program, DEFAULT_PROFILE, EngineConfig(num_kv_blocks=400), clock)
    engine.add(make_request("a", 20, max_tokens=30))
    engine.step()
    engine.add(make_request("b", 40, start=1))
    engine.step()
    stats = engine.stats()
    assert (stats.step_sequences, stats.step_rows, stats.step_decode_rows) == (2, 41, 1)
    assert stats.step_predicted_ns == pytest.approx(stats.step_duration_ns, rel=1e-6)
    assert stats.prediction_error < 1e-6
    weights = sum(
        info.shape[0] * info.shape[1] for info in program.weights.values() if len(info.shape) == 2
    )
    head = 49_152 * 576
    linear = 2 * (41 * (weights - head) + 2 * head)
    assert stats.step_flops == pytest.approx(linear, rel=0.02)
    assert stats.step_bytes > 0.9 * weights * 20 / 32  # 4-bit blocks of 32
    assert stats.peak_flops == 2 * DEFAULT_PROFILE.int8_macs
    assert engine._times.flops(engine._times.plan(has_prompts=True).work()) == 0
    shape = StepShape(((40, 0), (1, 20)), 2)
    assert stats.step_duration_ns == engine._times.cost.predict_ns(shape)


def test_prompt_tokens_count_once_and_those_from_the_cache_apart():
    engine, _ = make_engine()
    finish_all(engine, make_request("a", 50))
    finish_all(engine, make_request("b", 50))
    stats = engine.stats()
    assert (stats.prompt_tokens, stats.cached_prompt_tokens) == (100, 48)
