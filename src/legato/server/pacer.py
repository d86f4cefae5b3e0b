"""An even pace for streams: tokens that come in bursts leave one by one, in the time wanted between
them.

Several tokens come at once where speculation was right, or after a pause. A reader who wants one
every 50 ms gets them so, instead of five together and then none for a quarter of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from heapq import heappop, heappush

from legato.clock import Clock
from legato.core import TokenEvent

NS = 1e9
Numbered = tuple[int, TokenEvent]
Held = tuple[int, int, Numbered]  # when it leaves, in what order it came, and what it is


async def paced(
    events: AsyncGenerator[Numbered, None], clock: Clock, gap_ns: int
) -> AsyncGenerator[Numbered, None]:
    """`events`, those of one sample at least `gap_ns` apart; samples do not wait for each other.

    `events` is read without delay, so that its source never waits, and closed with this. What it
    raises comes after the events before it.
    """
    held: list[Held] = []
    arrived = asyncio.Event()
    reader = asyncio.create_task(_hold(events, clock, gap_ns, held, arrived))
    try:
        while held or not reader.done():
            wait_s = (held[0][0] - clock.now_ns()) / NS if held else None
            if wait_s is not None and wait_s <= 0:
                yield heappop(held)[2]
                continue
            arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), wait_s)
        await reader
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _hold(
    events: AsyncGenerator[Numbered, None],
    clock: Clock,
    gap_ns: int,
    held: list[Held],
    arrived: asyncio.Event,
) -> None:
    """Put each event into the heap `held` with the time of its release, and set `arrived`."""
    due: dict[tuple[int, int], int] = {}
    number = 0
    try:
        async with aclosing(events):
            async for which, event in events:
                key = (which, event.index)
                at_ns = max(clock.now_ns(), due.get(key, 0))
                due[key] = at_ns + gap_ns
                heappush(held, (at_ns, number, (which, event)))
                number += 1
                arrived.set()
    finally:
        arrived.set()
