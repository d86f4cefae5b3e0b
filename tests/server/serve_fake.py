"""A process that serves a fake engine with the real server; for tests of signals.

The reply never ends: after its third event each stream waits until the engine is stopped, or,
with the argument "finish", until a line comes in on standard input.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator

from fake_source import FakeSource, make_service

from legato.core import Request, TokenEvent
from legato.errors import EngineStoppedError
from legato.server.app import create_app
from legato.server.lifecycle import Lifecycle
from legato.server.run import GracefulServer, listen
from legato.server.settings import ServerSettings


class StoppableEngine(FakeSource):
    """Both the token source and what the server stops."""

    stopped = False
    released: asyncio.Event | None = None

    async def generate(self, request: Request) -> AsyncIterator[TokenEvent]:
        self.loop = asyncio.get_running_loop()
        self.released = self.released or asyncio.Event()
        async for number, event in _numbered(super().generate(request)):
            if number == 3:
                await self.released.wait()
                if self.stopped:
                    raise EngineStoppedError("stopped")
            yield event

    def stop(self, timeout: float) -> None:
        self.stopped = True
        self.release()

    def release(self) -> None:
        if self.released is not None:
            self.loop.call_soon_threadsafe(self.released.set)


async def _numbered(events: AsyncIterator[TokenEvent]) -> AsyncIterator[tuple[int, TokenEvent]]:
    number = 0
    async for event in events:
        yield number, event
        number += 1


def release_on_input(engine: StoppableEngine) -> None:
    sys.stdin.readline()
    engine.release()


def main() -> None:
    engine = StoppableEngine()
    settings = ServerSettings(grace=float(sys.argv[1]))
    lifecycle = Lifecycle()
    app = create_app(make_service(engine), settings, lifecycle=lifecycle)
    server = GracefulServer(app, engine, lifecycle, settings)  # type: ignore[arg-type]
    if "finish" in sys.argv:
        threading.Thread(
            target=lambda: (sys.stdin.readline(), engine.release()), daemon=True
        ).start()
    server.run(sockets=[listen("127.0.0.1", 0)])


if __name__ == "__main__":
    main()
