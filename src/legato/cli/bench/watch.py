"""A line on standard error that shows how a run goes. It costs the measurement next to nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from legato.bench.load import Load
from legato.bench.serve import Watched
from legato.metrics import latency
from legato.metrics.latency import NS_PER_SECOND, percentile

EVERY_S = 1.0
WIDTH = 20
RECENT = 50  # answers that the live figures cover


@asynccontextmanager
async def watched(loads: Watched) -> AsyncIterator[None]:
    """Show `loads` while the body runs; silent where standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    watcher = asyncio.create_task(_watch(loads))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        sys.stderr.write("\r\x1b[K")


async def _watch(loads: Watched) -> None:
    while True:
        line = " | ".join(f"{title} {describe(load)}" for title, load in loads)
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
        await asyncio.sleep(EVERY_S)


def describe(load: Load) -> str:
    """Bar, counts and recent latency in one line."""
    run = load.run
    recent = [o.timeline for o in run.outcomes[-RECENT:] if o.succeeded]
    failed = sum(not o.succeeded for o in run.outcomes)
    text = (
        f"{_bar(load.progress)} done {len(run.outcomes)} running {len(run.pending)} failed {failed}"
    )
    gaps = [gap for timeline in recent for gap in latency.tbt_ns(timeline)]
    if gaps:
        ttft = percentile([latency.ttft_ns(timeline) for timeline in recent], 50)
        tbt = percentile(gaps, 99)
        text += f"  TTFT p50 {_ms(ttft)}  TBT p99 {_ms(tbt)}"
    return text


def _bar(progress: float) -> str:
    full = round(min(1.0, progress) * WIDTH)
    return f"[{'#' * full}{'.' * (WIDTH - full)}]"


def _ms(duration_ns: float) -> str:
    return f"{duration_ns * 1000 / NS_PER_SECOND:.0f} ms"
