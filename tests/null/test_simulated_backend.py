"""The simulated backend: tokens are a function, time is what was predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from legato.assemble import simulate_engine
from legato.backends.simulated import SimulatedBackend, simulated_tokens
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import FinishReason, Request, SamplingParams
from legato.cost.driver import greedy_sampling
from legato.cost.estimate import StepCost
from legato.cost.machine import DEFAULT_PROFILE
from legato.engine import Engine
from legato.errors import BackendError, InvalidRequestError
from legato.program.ops import StepShape
from model.tiny import tiny_program

VOCAB = 5000


@pytest.fixture(scope="module")
def program():
    return tiny_program()


def engine_of(program, clock, **config):
    settings = EngineConfig(num_kv_blocks=200, **config)
    return simulate_engine(program, DEFAULT_PROFILE, settings, clock)


def request(name="a", length=10, **params) -> Request:
    fields = {"max_tokens": 6, "seed": 3} | params
    return Request(id=name, prompt=(1,) * length, params=SamplingParams(**fields))


def finish(engine):
    events = []
    while engine.has_work:
        events += engine.step()
    return events


def sampling(rows=4, **fields):
    base = replace(
        greedy_sampling(rows, VOCAB),
        seed=np.full(rows, 9, np.uint64),
        position=np.arange(rows, dtype=np.int32),
    )
    return replace(base, **fields)


def test_tokens_depend_on_seed_sample_and_position_alone():
    base = simulated_tokens(sampling(), VOCAB)
    assert len(set(base.tolist())) == 4
    warm = sampling(temperature=np.ones(4, np.float32), top_k=np.ones(4, np.int32))
    assert np.array_equal(simulated_tokens(warm, VOCAB), base)
    for other in (sampling(seed=np.ones(4, "u8")), sampling(sample_index=np.ones(4, "u4"))):
        assert (simulated_tokens(other, VOCAB) != base).all()


def test_tokens_spread_over_the_vocabulary():
    tokens = simulated_tokens(sampling(20_000), 10)
    assert (np.abs(np.bincount(tokens, minlength=10) - 2000) < 200).all()


def test_a_forbidden_token_gives_way_to_the_next():
    chosen = int(simulated_tokens(sampling(1), VOCAB)[0])
    forbidden = [chosen, (chosen + 1) % VOCAB]
    bias = {
        "bias_starts": np.array([0, 2], np.int32),
        "bias_ids": np.array(forbidden, np.int32),
        "bias_values": np.full(2, -np.inf, np.float32),
    }
    assert simulated_tokens(sampling(1, **bias), VOCAB) == (chosen + 2) % VOCAB


def test_a_mask_is_honoured_and_an_empty_one_leaves_no_token():
    masks = np.zeros((2, -(-VOCAB // 32)), np.uint32)
    masks[1, 77 // 32] = 1 << 77 % 32
    masked = sampling(2, mask_index=np.array([0, 1], np.int32), masks=masks)
    assert simulated_tokens(masked, VOCAB).tolist() == [-1, 77]


def test_time_moves_by_the_prediction_for_each_step(program):
    clock, cost = VirtualClock(), StepCost(program, DEFAULT_PROFILE)
    engine = engine_of(program, clock)
    engine.add(request(max_tokens=2))
    (first,) = engine.step()
    assert clock.now_ns() == first.time_ns == cost.predict_ns(StepShape(((10, 0),), 1))
    engine.step()
    assert clock.now_ns() - first.time_ns == cost.predict_ns(StepShape(((1, 10),), 1))


def test_the_same_calls_give_the_same_events_and_times(program):
    def life():
        engine = engine_of(program, VirtualClock(), max_batch_tokens=16)
        for number in range(6):
            engine.add(request(f"r{number}", 5 + 9 * number, seed=None, n=1 + number % 3))
        return finish(engine)

    assert life() == life()


def test_company_and_chunking_change_times_but_no_token(program):
    alone = engine_of(program, VirtualClock())
    alone.add(request(length=40))
    crowded = engine_of(program, VirtualClock(), max_batch_tokens=8)
    for number in range(3):
        crowded.add(request(f"other{number}", 30, seed=number))
    crowded.add(request(length=40))
    expected, events = finish(alone), [e for e in finish(crowded) if e.request_id == "a"]
    assert [e.token_id for e in events] == [e.token_id for e in expected]
    assert events[-1].time_ns > expected[-1].time_ns
    assert events[-1].finish_reason is FinishReason.LENGTH


def test_log_probabilities_have_the_shape_that_was_asked_for(program):
    engine = engine_of(program, VirtualClock())
    engine.add(request(logprobs=3))
    engine.add(request("b", logprobs=None))
    events = finish(engine)
    assert {len(e.logprobs.top) for e in events if e.request_id == "a"} == {3}
    assert all(e.logprobs is None for e in events if e.request_id == "b")


def test_logits_and_hidden_states_are_refused(program):
    engine = engine_of(program, VirtualClock())
    with pytest.raises(BackendError, match="no logits"):
        engine.logits([1, 2])
    with pytest.raises(BackendError, match="hidden states"):
        engine.hidden([1, 2])


def test_the_pool_must_be_given(program):
    with pytest.raises(InvalidRequestError, match="num_kv_blocks"):
        simulate_engine(program, DEFAULT_PROFILE, EngineConfig(), VirtualClock())


def test_the_shape_of_a_step_is_read_from_its_arrays(program):
    seen = []
    clock = VirtualClock()
    backend = SimulatedBackend(program.vocab_size, lambda shape: seen.append(shape) or 5, clock)
    config = EngineConfig(num_kv_blocks=50, max_batch_tokens=12)
    engine = Engine(program, backend, config, clock, frozenset())
    engine.add(request(length=15, max_tokens=2))
    finish(engine)
    shapes = [StepShape(((12, 0),), 0), StepShape(((3, 12),), 1), StepShape(((1, 15),), 1)]
    assert seen == shapes
    assert clock.now_ns() == 15
