"""Where the events of a request go: from the engine's thread into the loop that reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from legato.core import TokenEvent
from legato.errors import LegatoError


@dataclass(slots=True, eq=False)
class EventStream:
    """The events of one request. All but `unsent` and `fail` is touched in its own loop only.

    `unsent` counts samples whose last event the engine has not handed over yet. Only one reader
    waits at a time, so that this does with less than a queue, for every token.
    """

    loop: asyncio.AbstractEventLoop
    unsent: int
    arrived: deque[TokenEvent | LegatoError] = field(default_factory=deque)
    waiter: asyncio.Future[None] | None = None

    def put(self, event: TokenEvent | LegatoError) -> None:
        """An event came."""
        self.arrived.append(event)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        """Until one is there."""
        while not self.arrived:
            self.waiter = self.loop.create_future()
            await self.waiter

    def fail(self, error: LegatoError) -> None:
        """Nothing comes any more but `error`. From any thread."""
        _call(self.loop, partial(self.put, error))


Sendings = list[tuple[EventStream, TokenEvent]]


def send(loop: asyncio.AbstractEventLoop, sendings: Sendings) -> bool:
    """Give events to streams of `loop` in one call, from any thread; False where it is closed."""
    return _call(loop, partial(_put, sendings))


def _put(sendings: Sendings) -> None:
    for stream, event in sendings:
        stream.put(event)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> bool:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return False
    return True
