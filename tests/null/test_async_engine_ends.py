"""How a thread that owns an engine ends: failures, stopping, draining; and what it does idle."""

from __future__ import annotations

import asyncio
import threading

import pytest

from legato.async_engine import AsyncEngine
from legato.clock import RealClock
from legato.core import FinishReason
from legato.errors import EngineStoppedError
from null.fake_backend import (
    FakeBackend,
    broken,
    make_engine,
    make_request,
    tokens_of,
)
from null.running_engine import LIMIT_S, Running, collect, run, until


def test_a_loop_that_closed_does_not_stop_the_others():
    with Running() as running:

        async def abandon() -> None:
            await anext(running.engine.generate(make_request("gone", max_tokens=400)))

        loop = asyncio.new_event_loop()
        loop.run_until_complete(abandon())
        loop.close()

        async def main() -> None:
            assert len(await collect(running.engine, make_request("b"))) == 8
            await until(lambda: running.engine.stats().engine.running == 0)

        run(main)


def test_a_failed_step_ends_its_streams_with_error_events():
    async def main() -> None:
        with Running() as running:
            running.backend.fault = broken
            events = await collect(running.engine, make_request())
            assert events[-1].finish_reason is FinishReason.ERROR
            running.backend.fault = lambda step: None
            assert len(await collect(running.engine, make_request())) == 8

    run(main)


def test_when_the_thread_dies_every_stream_ends_and_new_ones_are_refused(monkeypatch):
    async def main() -> None:
        with Running() as running:
            running.gate.clear()
            tasks = [
                asyncio.create_task(collect(running.engine, make_request(name))) for name in "ab"
            ]
            await asyncio.to_thread(running.entered.wait)

            def explode() -> None:
                raise RuntimeError("a bug")

            monkeypatch.setattr(running.sync, "step", explode)
            running.gate.set()
            for error in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(error, EngineStoppedError)
                assert "RuntimeError" in str(error)
            with pytest.raises(EngineStoppedError):
                await collect(running.engine, make_request())
            assert not running.engine.stats().alive

    run(main)


def test_stop_ends_streams_and_closes_the_backend():
    async def main() -> None:
        with Running() as running:
            stream = running.engine.generate(make_request(max_tokens=400))
            await anext(stream)
            running.engine.stop()
            running.engine.stop()
            with pytest.raises(EngineStoppedError):
                _ = [event async for event in stream]

    run(main)


def test_stop_does_not_wait_for_ever_for_a_step_that_hangs():
    async def main() -> None:
        with Running() as running:
            running.gate.clear()
            task = asyncio.create_task(collect(running.engine, make_request()))
            await asyncio.to_thread(running.entered.wait)
            running.engine.stop(timeout=0.01)
            with pytest.raises(EngineStoppedError):
                await task
            assert not running.backend.closed

    run(main)


def test_an_engine_that_was_never_started_refuses():
    engine, backend = make_engine()
    asynchronous = AsyncEngine(engine, RealClock(), max_waiting=1)

    async def main() -> None:
        with pytest.raises(EngineStoppedError, match="not been started"):
            await collect(asynchronous, make_request())

    run(main)
    asynchronous.stop()
    assert backend.closed


def test_draining_lets_streams_finish_and_refuses_new_ones():
    async def main() -> None:
        with Running() as running:
            running.gate.clear()
            task = asyncio.create_task(collect(running.engine, make_request()))
            await asyncio.to_thread(running.entered.wait)
            assert not await running.engine.drain(0.01)
            with pytest.raises(EngineStoppedError, match="shutting down"):
                await collect(running.engine, make_request("b"))
            running.gate.set()
            assert await running.engine.drain(LIMIT_S)
            assert len(tokens_of(await task)) == 8

    run(main)


def test_stats_tell_of_progress_and_of_its_absence():
    async def main() -> None:
        with Running(max_sequences=1) as running:
            stats = running.engine.stats()
            assert stats.alive
            assert stats.last_step_age_s == stats.oldest_waiting_s == 0
            running.gate.clear()
            task = asyncio.create_task(collect(running.engine, make_request()))
            await asyncio.to_thread(running.entered.wait)
            age = running.engine.stats().last_step_age_s
            await until(lambda: running.engine.stats().last_step_age_s > age > 0)
            running.gate.set()
            await task
            await until(lambda: running.engine.stats().last_step_age_s == 0)
            assert running.engine.stats().engine.tokens == 8

    run(main)


def test_an_idle_engine_makes_no_steps():
    async def main() -> None:
        with Running() as running:
            await collect(running.engine, make_request())
            await until(lambda: running.engine.stats().last_step_age_s == 0)
            runs = running.backend.runs
            await collect(running.engine, make_request(max_tokens=1))
            assert running.backend.runs == runs + 1

    run(main)


def test_the_backend_is_called_by_one_thread_only():
    threads = set()
    with Running() as running:
        running.backend.fault = lambda step: threads.add(threading.get_ident())

        async def main() -> None:
            await asyncio.gather(
                *(collect(running.engine, make_request(str(i), start=i)) for i in range(5))
            )

        run(main)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert isinstance(running.backend, FakeBackend)


def test_who_leaves_before_the_engine_saw_it_stands_before_nobody():
    async def main() -> None:
        with Running() as running:
            first = running.engine.generate(make_request("first", max_tokens=50))
            await anext(first)
            running.gate.clear()
            running.entered.clear()
            await asyncio.to_thread(running.entered.wait, LIMIT_S)
            rows: list[int] = []
            running.sync.check_load = lambda request, load, before: rows.append(before)
            others = [
                asyncio.create_task(collect(running.engine, make_request(name, 30)))
                for name in ("leaves", "stays", "last")
            ]
            await until(lambda: len(rows) == 3)
            assert rows == [0, 30, 60]
            others[0].cancel()
            await asyncio.gather(others[0], return_exceptions=True)
            newest = asyncio.create_task(collect(running.engine, make_request("newest", 30)))
            await until(lambda: len(rows) == 4)
            assert rows[3] == 60
            running.gate.set()
            await first.aclose()
            await asyncio.gather(newest, *others[1:])

    run(main)
