"""When a newcomer would get its first token, and who is refused because of it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from fake_backend import make_engine, make_request

from legato.assemble import simulate_engine
from legato.async_engine import AsyncEngine
from legato.clock import RealClock, VirtualClock
from legato.config import EngineConfig
from legato.core import Objectives
from legato.cost.machine import DEFAULT_PROFILE
from legato.engine import Engine
from legato.errors import OverloadedError
from legato.scheduler.forecast import (
    Load,
    OutputLengths,
    first_token_ns,
    mean_past,
    steps_until_free,
)
from sim.hollow import hollow_program


class Times:
    """A decode step takes 100, a prompt row 1 alone and 10 beside streams."""

    def decode_ns(self, count: int, depth: int) -> float:
        return 100.0

    def row_ns(self, decodes: int, depth: int, tbt_ns: int, past: int) -> float:
        return 10.0 if decodes else 1.0


def expected(load: Load, rows: int = 20, urgency: tuple[int, int] = (0, 500)) -> float:
    return first_token_ns(load, urgency, rows, Times())


def test_on_an_idle_engine_a_prompt_takes_its_own_time():
    assert expected(Load(slots=4)) == 20


def test_only_the_more_urgent_prompts_are_waited_for():
    queue = (
        ((0, 100), 7, False),
        ((0, 500), 5, True),
        ((0, 900), 1000, True),
        ((1, 1), 1000, True),
    )
    assert expected(Load(slots=9, queue=queue)) == 7 + 5 + 20
    assert expected(Load(slots=9, queue=queue), urgency=(-1, 500)) == 20
    assert expected(Load(slots=9, queue=queue), urgency=(1, 2)) == 7 + 5 + 2000 + 20


def test_beside_streams_a_prompt_takes_longer():
    assert expected(Load(slots=4, running=((0, 50),))) == 200


def test_tokens_that_are_not_in_the_load_yet_are_waited_for_too():
    assert first_token_ns(Load(slots=4), (0, 500), 20, Times(), rows_before=300) == 320


@pytest.mark.parametrize(
    ("prompts", "past"), [([0], 0), ([200], 100), ([200, 200], 100), ([10, 4000], 1995)]
)
def test_most_tokens_that_are_computed_are_those_of_long_prompts(prompts, past):
    assert mean_past(prompts) == past


def test_without_a_slot_one_of_the_running_must_end():
    running = ((0, 50), (0, 8), (0, 30))
    assert expected(Load(slots=3, running=running)) == 8 * 100 + 200
    waiting = (((0, 1), 0, True),)
    assert expected(Load(slots=3, running=running, queue=waiting)) == 30 * 100 + 200
    assert expected(Load(slots=4, running=running)) == 200


def test_a_lower_priority_holds_no_slot_against_a_newcomer():
    assert expected(Load(slots=2, running=((5, 999), (5, 999)))) == 200


def test_outputs_that_are_known_to_be_short_end_earlier_than_their_limits():
    running = ((0, 5000),) * 10
    assert expected(Load(slots=10, running=running)) == 5000 * 100 + 200
    assert expected(Load(slots=10, running=running, mean_output=40)) == 4 * 100 + 200


@pytest.mark.parametrize(
    ("count", "mean", "steps"),
    [(1, None, 10), (3, None, 30), (4, None, 40), (7, None, 70), (3, 6.0, 6.0), (1, 1e9, 10)],
)
def test_steps_until_slots_are_free(count, mean, steps):
    assert steps_until_free(count, [10, 20, 30], mean) == steps


def test_the_mean_length_counts_what_has_not_ended():
    lengths = OutputLengths()
    lengths.observe(500, 0)
    assert lengths.mean is None
    lengths.observe(10, 1)
    assert lengths.mean > 490
    for _ in range(500):
        lengths.observe(7, 1)
    assert lengths.mean == pytest.approx(7, rel=0.05)


def simulated(**config: object) -> Engine:
    settings = EngineConfig(**({"num_kv_blocks": 20_000} | config))
    return simulate_engine(hollow_program(), DEFAULT_PROFILE, settings, VirtualClock())


def test_nothing_is_refused_on_an_idle_engine_however_short_its_objective():
    engine = simulated()
    hasty = replace(make_request(length=2000), objectives=Objectives(ttft_ns=1))
    engine.check_load(hasty, engine.load())


def test_a_request_whose_first_token_is_out_of_reach_is_refused_with_the_time_to_wait():
    engine = simulated(ttft_ms=1000, patience=2, prefix_cache=False)
    for number in range(40):
        engine.add(make_request(f"r{number}", 1000))
    with pytest.raises(OverloadedError) as caught:
        engine.check_load(make_request("x", 100), engine.load())
    wait_s = caught.value.retry_after + 2
    while engine.load().queue:
        engine.step()
    assert wait_s == pytest.approx(engine._clock.now_ns() / 1e9, rel=0.3)
    engine.check_load(make_request("x", 100), engine.load())


def test_the_time_before_a_request_is_added_counts_for_its_deadlines():
    engine = simulated(ttft_ms=1000, patience=1, prefix_cache=False)
    for number in range(4):
        engine.add(make_request(f"r{number}", 100))
    engine._clock.advance(3_000_000_000)
    late = replace(make_request("late", 100), arrived_ns=2_500_000_000)
    assert engine.urgency(late) == (0, 3_500_000_000)
    engine.check_load(late, engine.load())
    engine.add(late)
    assert engine._scheduler.waiting[-1].due_ns == 3_500_000_000
    with pytest.raises(OverloadedError):
        engine.check_load(replace(late, id="x", arrived_ns=1_900_000_000), engine.load())
    assert engine.urgency(replace(late, arrived_ns=9_000_000_000)) == (0, 4_000_000_000)


def test_impatience_can_be_turned_off():
    engine = simulated(ttft_ms=1000, patience=0)
    for number in range(40):
        engine.add(make_request(f"r{number}", 1000))
    engine.check_load(make_request("x", 100), engine.load())


def test_behind_two_hundred_long_streams_a_request_is_refused_early():
    engine = simulated(max_sequences=64)
    for number in range(200):
        engine.add(make_request(f"r{number}", 8, max_tokens=2000))
    for _ in range(20):
        engine.step()
    with pytest.raises(OverloadedError) as caught:
        engine.check_load(make_request("x", 20), engine.load())
    assert caught.value.retry_after > 60
    engine.check_load(make_request("x", 20, priority=-1), engine.load())


def test_a_burst_may_wait_where_nobody_stated_an_objective_but_lasting_overload_may_not():
    engine = simulated(prefix_cache=False)
    stated = replace(make_request("s", 100), objectives=Objectives(ttft_ns=2_500_000_000))
    unstated = make_request("x", 100)

    def fill() -> None:
        for _ in range(80 - len(engine.load().queue)):
            engine.add(make_request(f"r{next(numbers)}", 100, max_tokens=1))

    numbers = itertools.count()
    fill()
    engine.check_load(unstated, engine.load())
    with pytest.raises(OverloadedError):
        engine.check_load(stated, engine.load())
    start_ns = engine._clock.now_ns()
    while engine._clock.now_ns() - start_ns < 11e9:
        engine.step()
        fill()
    with pytest.raises(OverloadedError):
        engine.check_load(unstated, engine.load())


def test_prompts_are_expected_to_be_cached_as_often_as_they_were():
    engine, cold = (simulated(ttft_ms=1000, patience=2, prefix_cache=on) for on in (True, False))
    for number in range(9):
        for each in (engine, cold):
            each.add(make_request(f"r{number}", 4000, max_tokens=1))
            while each.has_work:
                each.step()
    for number in range(9, 12):
        for each in (engine, cold):
            each.add(make_request(f"r{number}", 4000, max_tokens=1))
    engine.check_load(make_request("x", 100), engine.load())
    with pytest.raises(OverloadedError):
        cold.check_load(make_request("x", 100), cold.load())


def test_the_asynchronous_engine_refuses_before_it_queues():
    engine, _ = make_engine()
    running = AsyncEngine(engine, RealClock(), max_waiting=8)
    calls = []

    def refuse(request, load, rows_before):
        calls.append((request.id, rows_before))
        raise OverloadedError("too much", 7.0)

    engine.check_load = refuse

    async def main() -> None:
        with pytest.raises(OverloadedError) as caught:
            [event async for event in running.generate(make_request("a"))]
        assert caught.value.retry_after == 7.0

    running.start()
    try:
        asyncio.run(main())
    finally:
        running.stop()
    assert calls == [("a", 0)]
    assert not engine.has_work
