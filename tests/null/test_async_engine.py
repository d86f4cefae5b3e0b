"""Streams of an engine that a thread owns: what they say, who leaves them, who is refused."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from legato.async_engine import AsyncEngine
from legato.clock import RealClock
from legato.core import FinishReason, Request, TokenEvent
from legato.errors import InvalidRequestError, OverloadedError
from null.fake_backend import (
    alone,
    make_engine,
    make_request,
    summary,
)
from null.running_engine import LIMIT_S, Running, collect, run, until


def test_streams_of_many_requests_equal_those_of_single_runs():
    requests = [make_request(f"r{i}", 10 + i, start=i, max_tokens=5 + i) for i in range(20)]

    async def main() -> None:
        with Running() as running:
            streams = await asyncio.gather(*(collect(running.engine, r) for r in requests))
        for request, events in zip(requests, streams, strict=True):
            assert summary(events) == summary(alone(request)[request.id, 0])

    run(main)


def test_all_samples_come_through_one_stream():
    async def main() -> None:
        with Running() as running:
            events = await collect(running.engine, make_request(n=3, temperature=1.0))
        assert sum(e.finish_reason is not None for e in events) == 3
        assert len(events) == 24

    run(main)


def test_leaving_a_stream_cancels_the_request():
    async def main() -> None:
        with Running() as running:
            async with aclosing(running.engine.generate(make_request(max_tokens=400))) as events:
                await anext(events)
            await until(lambda: running.engine.stats().engine.running == 0)
            assert running.engine.stats().engine.used_blocks == 0
            assert running.engine.stats().engine.tokens < 400

    run(main)


def test_a_stream_that_is_left_takes_part_in_two_more_steps_at_most():
    sync, backend = make_engine()
    gate, entered = threading.Event(), threading.Event()
    gate.set()

    def hold(run: int) -> None:
        entered.set()
        assert gate.wait(LIMIT_S)

    backend.fault = hold
    running: list[tuple[int, int]] = []
    engine = AsyncEngine(
        sync,
        RealClock(),
        max_waiting=9,
        on_step=lambda stats: running.append((stats.steps, stats.running)),
    )

    async def main() -> None:
        engine.start()
        stays = engine.generate(make_request("stays", max_tokens=400))
        leaves = engine.generate(make_request("leaves", max_tokens=400))
        await anext(stays)
        await anext(leaves)
        gate.clear()
        entered.clear()
        await asyncio.to_thread(entered.wait, LIMIT_S)
        await leaves.aclose()
        left_at = sync.stats().steps
        gate.set()
        await until(lambda: running[-1][0] >= left_at + 2)
        assert dict(running)[left_at + 2] == 1
        await stays.aclose()
        await until(lambda: not sync.stats().used_blocks)

    run(main)
    engine.stop()


def test_a_cancelled_consumer_cancels_the_request():
    async def main() -> None:
        with Running() as running:
            task = asyncio.create_task(collect(running.engine, make_request(max_tokens=400)))
            running.gate.clear()
            await asyncio.to_thread(running.entered.wait)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            running.gate.set()
            await until(lambda: running.engine.stats().engine.used_blocks == 0)

    run(main)


def test_cancel_ends_a_stream_with_an_event():
    async def main() -> None:
        with Running() as running:
            stream = running.engine.generate(make_request(max_tokens=400))
            await anext(stream)
            running.engine.cancel("a")
            events = [event async for event in stream]
            assert events[-1].finish_reason is FinishReason.CANCELLED

    run(main)


def test_bad_requests_are_refused_at_the_first_event():
    async def main() -> None:
        with Running() as running:
            with pytest.raises(InvalidRequestError, match="temperature"):
                await collect(running.engine, make_request(temperature=-1))
            with pytest.raises(InvalidRequestError, match="context"):
                await collect(running.engine, make_request(length=600))
            assert len(await collect(running.engine, make_request())) == 8

    run(main)


def test_a_repeated_id_is_refused_and_the_first_goes_on():
    async def main() -> None:
        with Running() as running:
            first = running.engine.generate(make_request())
            running.gate.clear()
            task = asyncio.create_task(anext(first))
            await asyncio.to_thread(running.entered.wait)
            with pytest.raises(InvalidRequestError, match="'a'"):
                await collect(running.engine, make_request())
            running.gate.set()
            assert (await task).token_id is not None
            assert len([e async for e in first]) == 7

    run(main)


def test_an_id_is_free_again_once_the_engine_has_let_go_of_it():
    async def main() -> None:
        with Running() as running:
            first = running.engine.generate(make_request(max_tokens=400))
            await anext(first)
            running.entered.clear()
            running.gate.clear()
            await asyncio.to_thread(running.entered.wait)
            await first.aclose()
            with pytest.raises(InvalidRequestError):
                await collect(running.engine, make_request(start=1))
            running.gate.set()
            await until(lambda: running.engine.stats().last_step_age_s == 0)
            events = await collect(running.engine, make_request(start=1))
            assert summary(events) == summary(alone(make_request(start=1))["a", 0])

    run(main)


def test_the_waiting_queue_is_bounded_and_takes_requests_whole():
    async def main() -> None:
        with Running(max_waiting=2, max_sequences=1) as running:
            running.gate.clear()
            tasks = [asyncio.create_task(collect(running.engine, make_request("a")))]
            await asyncio.to_thread(running.entered.wait)
            tasks += [
                asyncio.create_task(collect(running.engine, make_request(name, n=3)))
                for name in "bcde"
            ]
            await until(lambda: sum(task.done() for task in tasks) == 3)
            refused = [task for task in tasks if task.done()]
            assert all(isinstance(task.exception(), OverloadedError) for task in refused)
            assert refused[0].exception().retry_after > 0
            running.gate.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finished = [events for events in results if isinstance(events, list)]
        assert [sum(e.finish_reason is not None for e in f) for f in finished] == [1, 3]

    run(main)


def test_requests_from_several_loops_in_several_threads():
    requests = [make_request(f"r{i}", 30, start=i, max_tokens=20) for i in range(12)]
    results: dict[str, list[TokenEvent]] = {}

    def client(mine: list[Request]) -> None:
        async def main() -> None:
            streams = await asyncio.gather(*(collect(running.engine, r) for r in mine))
            results.update(zip((r.id for r in mine), streams, strict=True))

        run(main)

    with Running() as running:
        threads = [threading.Thread(target=client, args=(requests[i::4],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for request in requests:
        assert summary(results[request.id]) == summary(alone(request)[request.id, 0])
