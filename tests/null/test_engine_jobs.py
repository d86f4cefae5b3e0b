from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

import numpy as np
import pytest
from fake_backend import alone, make_engine, make_request, summary, tokens_of
from running_engine import collect

from legato.async_engine import AsyncEngine
from legato.clock import RealClock
from legato.core import Tenant
from legato.errors import EngineStoppedError, InvalidRequestError, LegatoError, OverloadedError

LIMIT_S = 20


def run(main, *, max_waiting: int = 100, **config) -> None:
    """`main(async engine, engine, its backend)` with a started engine that ends in order."""

    async def limited() -> None:
        sync, backend = make_engine(**config)
        engine = AsyncEngine(sync, RealClock(), max_waiting=max_waiting)
        engine.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                await main(engine, sync, backend)
        finally:
            engine.stop()

    asyncio.run(limited())


def test_a_computation_runs_between_the_steps_of_a_stream_and_changes_nothing():
    request, tokens = make_request(length=40, max_tokens=60), make_request(length=200).prompt
    expected = make_engine()[0].hidden(tokens)

    async def main(engine, sync, backend):
        stream = asyncio.create_task(collect(engine, request))
        pieces = (await engine.compute(lambda e: e.hidden_chunks(tokens))).pieces
        assert (np.concatenate(pieces) == expected).all()
        assert summary(await stream) == summary(alone(request)["a", 0])
        sync.check_integrity()

    run(main)


def test_pieces_are_small_and_alternate_with_steps_while_a_request_runs():
    async def main(engine, sync, backend):
        gate = threading.Event()
        backend.fault = lambda run: gate.wait(LIMIT_S)
        stream = asyncio.create_task(collect(engine, make_request(length=4, max_tokens=50)))
        tokens = make_request(length=200).prompt
        job = asyncio.create_task(engine.compute(lambda e: e.logits_chunks(tokens)))
        await asyncio.sleep(0)
        gate.set()
        pieces = (await job).pieces
        await stream
        assert [len(piece) for piece in pieces] == [64, 64, 64, 8]
        kinds = [step.want_logits for step in backend.steps]
        places = [place for place, is_score in enumerate(kinds) if is_score]
        assert all(b - a > 1 for a, b in pairwise(places))

    run(main)


def test_an_error_of_a_computation_is_its_callers():
    async def main(engine, sync, backend):
        with pytest.raises(InvalidRequestError):
            await engine.compute(lambda e: e.hidden_chunks([]))
        with pytest.raises(LegatoError, match="ZeroDivisionError"):
            await engine.compute(lambda e: iter([1 / 0]))
        assert len((await engine.compute(lambda e: e.hidden_chunks([1, 2]))).pieces) == 1

    run(main)


def test_a_computation_gives_its_blocks_back():
    async def main(engine, sync, backend):
        await engine.compute(lambda e: e.hidden_chunks([1] * 40))
        while engine.stats().engine.used_blocks:
            await asyncio.sleep(0.001)

    run(main)


def test_a_caller_that_goes_away_gives_the_blocks_back():
    async def main(engine, sync, backend):
        entered, released = threading.Event(), threading.Event()

        def hold(run):
            entered.set()
            assert released.wait(LIMIT_S)

        backend.fault = hold
        job = asyncio.create_task(engine.compute(lambda e: e.hidden_chunks([1] * 300)))
        await asyncio.to_thread(entered.wait, LIMIT_S)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        released.set()
        assert len((await engine.compute(lambda e: e.hidden_chunks([1, 2]))).pieces) == 1
        assert sync.stats().used_blocks == 0

    run(main, max_batch_tokens=100)


def test_a_step_that_fails_takes_the_computation_beside_it_along():
    async def main(engine, sync, backend):
        gate, has_scored = threading.Event(), threading.Event()

        def fail_a_step_beside(run):
            gate.wait(LIMIT_S)
            if backend.steps[-1].want_hidden:
                has_scored.set()
            elif has_scored.is_set():
                raise RuntimeError

        backend.fault = fail_a_step_beside
        stream = asyncio.create_task(collect(engine, make_request(length=4, max_tokens=50)))
        job = asyncio.create_task(engine.compute(lambda e: e.hidden_chunks([1] * 300)))
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(LegatoError):
            await job
        assert (await stream)[-1].error
        backend.fault = lambda run: None
        request = make_request("b", length=40, max_tokens=20)
        assert tokens_of(await collect(engine, request)) == tokens_of(alone(request)["b", 0])
        sync.check_integrity()

    run(main)


def test_computations_beyond_the_queue_are_refused():
    async def main(engine, sync, backend):
        released = threading.Event()
        backend.fault = lambda run: released.wait(LIMIT_S)
        jobs = [
            asyncio.create_task(engine.compute(lambda e: e.hidden_chunks([1]))) for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await engine.compute(lambda e: e.hidden_chunks([1]))
        released.set()
        await asyncio.gather(*jobs)

    run(main, max_waiting=2)


def test_stopping_the_engine_ends_computations():
    async def main(engine, sync, backend):
        entered, released = threading.Event(), threading.Event()

        def hold(run):
            entered.set()
            assert released.wait(LIMIT_S)

        backend.fault = hold
        jobs = [
            asyncio.create_task(engine.compute(lambda e: e.hidden_chunks([1]))) for _ in range(2)
        ]
        await asyncio.to_thread(entered.wait, LIMIT_S)
        stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
        for job in jobs:
            with pytest.raises(EngineStoppedError):
                await job
        released.set()
        await stopping
        with pytest.raises(EngineStoppedError):
            await engine.compute(lambda e: e.hidden_chunks([1]))

    run(main)


def test_requests_and_computations_together_take_all_of_the_machines_time():
    async def main():
        sync, backend = make_engine()
        clock = sync._clock
        backend.fault = lambda run: clock.advance(1_000_003 + 17 * run)
        engine = AsyncEngine(sync, clock, max_waiting=100)
        engine.start()
        try:
            stream = asyncio.create_task(collect(engine, make_request(length=40, max_tokens=30)))
            jobs = [engine.compute(lambda e: e.hidden_chunks([1] * 150)) for _ in range(3)]
            spent = [computed.machine_ns for computed in await asyncio.gather(*jobs)]
            ends = [event.machine_ns for event in await stream]
        finally:
            engine.stop()
        assert all(spent)
        assert sum(spent) + sum(ends) == clock.now_ns()

    asyncio.run(main())


def test_a_tenant_with_many_computations_does_not_starve_another():
    async def main(engine, sync, backend):
        hog, small = Tenant("hog"), Tenant("small")
        done: list[str] = []

        async def job(tenant: Tenant) -> None:
            await engine.compute(lambda e: e.hidden_chunks([1, 2]), tenant)
            done.append(tenant.name)

        released = threading.Event()
        backend.fault = lambda run: released.wait(LIMIT_S)
        jobs = [asyncio.create_task(job(hog)) for _ in range(30)]
        jobs += [asyncio.create_task(job(small)) for _ in range(2)]
        await asyncio.sleep(0)
        released.set()
        await asyncio.gather(*jobs)
        assert max(place for place, name in enumerate(done) if name == "small") < 8

    run(main)
