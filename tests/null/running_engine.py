"""An engine in a thread of its own, on a fake backend, for tests of streams."""

from __future__ import annotations

import asyncio
import threading

from legato.async_engine import AsyncEngine
from legato.clock import RealClock
from legato.core import Request, TokenEvent
from null.fake_backend import (
    make_engine,
)

LIMIT_S = 20


class Running:
    """A started engine on a fake backend. While `gate` is cleared, steps wait inside it."""

    def __init__(self, max_waiting: int = 100, **config: object) -> None:
        self.sync, self.backend = make_engine(**config)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.backend.fault = self._wait
        self.engine = AsyncEngine(self.sync, RealClock(), max_waiting=max_waiting)

    def _wait(self, run: int) -> None:
        self.entered.set()
        assert self.gate.wait(LIMIT_S)

    def __enter__(self) -> Running:
        self.engine.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.gate.set()
        self.engine.stop()
        assert not self.engine.stats().alive
        assert self.backend.closed


async def collect(engine: AsyncEngine, request: Request) -> list[TokenEvent]:
    return [event async for event in engine.generate(request)]


def run(main) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await main()

    asyncio.run(limited())


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)
