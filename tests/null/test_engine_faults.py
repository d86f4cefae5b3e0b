"""A fault inside the engine ends the requests concerned and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fake_backend import alone, make_engine, make_request, summary, tokens_of

from legato.async_engine import AsyncEngine
from legato.clock import VirtualClock
from legato.core import FinishReason
from legato.engine import Engine
from legato.errors import LegatoError

WINDOWS = [(None,), (None, 24, 24)]
OPERATIONS = ["allocate", "retain", "release", "keep"]


class Breaks:
    """A function that raises instead of its n-th call, or half-way through it."""

    def __init__(self, function: Callable[..., Any], n: int, *, late: bool) -> None:
        self.function, self.left, self.late = function, n, late

    def __call__(self, *args: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.late:
            raise MemoryError
        result = self.function(*args)
        if self.left == 0:
            raise MemoryError
        return result


def run(engine: Engine, requests: list) -> dict[tuple[str, int], list]:
    outputs: dict[tuple[str, int], list] = {}
    for request in requests:
        engine.add(request)
    for _ in range(2_000):
        if not engine.has_work:
            return outputs
        for event in engine.step():
            outputs.setdefault((event.request_id, event.index), []).append(event)
        engine.check_integrity()
    raise AssertionError("the engine does not come to an end")


def requests() -> list:
    return [
        make_request(f"r{i}", 20 + 11 * i, start=i % 3, n=1 + (i == 2), max_tokens=20 + i, seed=1)
        for i in range(6)
    ]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("windows", WINDOWS)
def test_a_fault_in_the_accounts_of_blocks_fails_one_request(windows, operation, late):
    expected = {key: out for r in requests() for key, out in alone(r, windows).items()}
    faulty = 0
    for n in (1, 2, 3, 5, 8, 13, 21):
        engine, _ = make_engine(windows, num_kv_blocks=70, max_batch_tokens=64)
        pool = engine._cache.pool
        breaks = Breaks(getattr(pool, operation), n, late=late)
        setattr(pool, operation, breaks)
        outputs = run(engine, requests())
        failed = {k[0] for k, out in outputs.items() if out[-1].finish_reason == "error"}
        assert len(failed) == (breaks.left <= 0), (n, failed)
        assert outputs.keys() == expected.keys()
        for key, events in outputs.items():
            assert sum(event.finish_reason is not None for event in events) == 1
            if key[0] not in failed:
                assert summary(events) == summary(expected[key])
        assert engine.stats().used_blocks == 0
        faulty += len(failed)
    assert faulty > 1


def test_a_fault_while_a_step_is_committed_fails_one_request():
    engine, _ = make_engine(prefix_cache=False)
    advance, calls = engine._cache.advance, 0

    def broken(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise MemoryError
        advance(*args)

    engine._cache.advance = broken
    outputs = run(engine, requests())
    failed = [key for key, events in outputs.items() if events[-1].finish_reason == "error"]
    assert len({request_id for request_id, _ in failed}) == 1
    assert "MemoryError" in outputs[failed[0]][-1].error


def test_a_victim_that_cannot_wait_again_fails_and_is_not_lost():
    engine, _ = make_engine(num_kv_blocks=14, prefix_cache=False)
    engine._scheduler._preempt = partial(_preempt_once_broken, engine._scheduler)
    outputs = run(engine, [make_request(f"r{i}", 60, start=i, max_tokens=60) for i in range(4)])
    reasons = [events[-1].finish_reason for events in outputs.values()]
    assert sorted(reasons) == [FinishReason.ERROR] + [FinishReason.LENGTH] * 3


def _preempt_once_broken(scheduler: Any, sequence: Any) -> None:
    del scheduler._preempt
    scheduler.add = Breaks(scheduler.add, 1, late=False)
    scheduler._preempt(sequence)
    del scheduler.add


def test_a_fault_that_is_nobodys_ends_all_live_requests_and_the_engine_goes_on():
    engine, _ = make_engine()
    plan, engine._scheduler._plan_prefills = engine._scheduler._plan_prefills, None
    outputs = run(engine, requests())
    assert {events[-1].finish_reason for events in outputs.values()} == {FinishReason.ERROR}
    assert len(outputs) == 7
    engine._scheduler._plan_prefills = plan
    later = run(engine, [make_request("later", start=4)])
    assert tokens_of(later["later", 0]) == tokens_of(alone(make_request(start=4))["a", 0])


def test_a_request_that_cannot_be_added_leaves_no_trace(monkeypatch):
    engine, _ = make_engine()
    add, calls = engine._scheduler.add, []

    def second_fails(sequence: object) -> None:
        calls.append(sequence)
        if len(calls) == 2:
            raise MemoryError
        add(sequence)

    monkeypatch.setattr(engine._scheduler, "add", second_fails)
    with pytest.raises(MemoryError):
        engine.add(make_request("a", n=3))
    engine.check_integrity()
    assert not engine.has_work
    assert engine.stats().waiting_requests == 0


def test_a_request_that_the_engine_cannot_add_ends_alone(monkeypatch):
    engine, _ = make_engine()
    samples = Breaks(engine._admission.samples, 1, late=False)
    monkeypatch.setattr(engine._admission, "samples", samples)
    live = AsyncEngine(engine, VirtualClock(), max_waiting=8)

    async def main() -> list[int]:
        with pytest.raises(LegatoError, match="MemoryError"):
            [event async for event in live.generate(make_request("a"))]
        return tokens_of([event async for event in live.generate(make_request("b"))])

    live.start()
    try:
        assert asyncio.run(main()) == tokens_of(alone(make_request())["a", 0])
    finally:
        live.stop()


def test_a_cancellation_that_fails_half_way_still_ends_the_request():
    engine, _ = make_engine()
    engine.add(make_request("a", 40))
    engine.step()
    engine._cache.pool.release = Breaks(engine._cache.pool.release, 2, late=False)
    engine.cancel("a")
    assert [event.finish_reason for event in engine.step()] == [FinishReason.CANCELLED]
    engine.check_integrity()
    assert engine.stats().used_blocks == 0
