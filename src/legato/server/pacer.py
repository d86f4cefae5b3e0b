"""An even pace for streams: tokens that come in bursts leave one by one, in the time wanted between
them.

Several tokens come at once where speculation was right, or after a pause. A reader who wants one
every 50 ms gets them so, instead of five together and then none for a quarter of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from legato.clock import Clock
from legato.core import TokenEvent

NS = 1e9
Numbered = tuple[int, TokenEvent]


async def paced(
    events: AsyncGenerator[Numbered, None], clock: Clock, gap_ns: int
) -> AsyncGenerator[Numbered, None]:
    """`events`, those of one sample at least `gap_ns` apart; samples do not wait for each other.

    `events` is read without delay, so that its source never waits, and closed with this.
    """
    released: asyncio.Queue[Numbered | Exception | None] = asyncio.Queue()
    reader = asyncio.create_task(_release(events, clock, gap_ns, released))
    try:
        while (item := await released.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _release(
    events: AsyncGenerator[Numbered, None],
    clock: Clock,
    gap_ns: int,
    released: asyncio.Queue[Numbered | Exception | None],
) -> None:
    """Put each event into `released` when it is due, then what ended them: an error, or None."""
    loop = asyncio.get_running_loop()
    due: dict[tuple[int, int], int] = {}
    latest_ns = 0
    end: Exception | None = None
    timers: list[asyncio.TimerHandle] = []
    try:
        try:
            async with aclosing(events):
                async for which, event in events:
                    now_ns = clock.now_ns()
                    key = (which, event.index)
                    at_ns = max(now_ns, due.get(key, 0))
                    due[key] = at_ns + gap_ns
                    latest_ns = max(latest_ns, at_ns)
                    delay = (at_ns - now_ns) / NS
                    timers.append(loop.call_later(delay, released.put_nowait, (which, event)))
        except Exception as error:
            end = error
        await asyncio.sleep(max(0, latest_ns - clock.now_ns()) / NS)
        released.put_nowait(end)
    except BaseException:
        for timer in timers:
            timer.cancel()
        raise
