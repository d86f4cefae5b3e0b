"""A step that hangs is told: /health 503, the age of the step, one line in the log."""

from __future__ import annotations

import asyncio
import logging
import threading

from legato.async_engine import AsyncEngine
from legato.clock import VirtualClock
from legato.metrics.prometheus import ServerMetrics
from legato.server.engine_source import EngineSource
from legato.server.health import health
from legato.server.settings import ServerSettings
from legato.server.watchdog import Watchdog
from null.fake_backend import make_engine, make_request, tokens_of

SECOND = 10**9
SETTINGS = ServerSettings(stall_after=60.0)


def test_a_stall_and_its_end_are_logged_once_each(caplog):
    age = [0.0]
    watchdog = Watchdog(lambda: age[0], stall_after=60)
    with caplog.at_level(logging.WARNING):
        for now in (0.0, 59.0, 61.0, 90.0, 500.0, 0.1, 3.0):
            age[0] = now
            watchdog.check()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "61 s" in caplog.messages[0]


def test_the_watchdog_checks_by_itself_until_it_is_stopped():
    asked = threading.Event()

    def age() -> float:
        asked.set()
        return 0.0

    watchdog = Watchdog(age, stall_after=0.001)
    watchdog.start()
    assert asked.wait(20)
    watchdog.stop()


def test_health_and_metrics_tell_of_a_first_step_that_hangs_and_the_request_still_ends():
    engine, backend = make_engine()
    clock, entered, go_on = VirtualClock(), threading.Event(), threading.Event()

    def hang(run: int) -> None:
        entered.set()
        assert go_on.wait(20)

    backend.fault = hang
    running = AsyncEngine(engine, clock, max_waiting=8)
    source = EngineSource(running)
    metrics = ServerMetrics(lambda: source.status().gauges)

    async def main() -> list[int]:
        stream = asyncio.create_task(collect(running))
        await asyncio.to_thread(entered.wait)
        clock.advance(30 * SECOND)
        assert health(source.status(), SETTINGS)[0] == 200
        clock.advance(31 * SECOND)
        status, body = health(source.status(), SETTINGS)
        assert (status, body["status"], body["last_step_age_s"]) == (503, "stalled", 61.0)
        assert "legato_engine_step_age_seconds 61.0" in metrics.render().decode()
        go_on.set()
        return tokens_of(await stream)

    running.start()
    try:
        assert len(asyncio.run(main())) == 8
    finally:
        running.stop()


async def collect(running: AsyncEngine) -> list:
    return [event async for event in running.generate(make_request())]
