"""Whether the server takes new work, and how much runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Lifecycle:
    """Counts the calls that generate; once draining it never takes new ones."""

    draining: bool = False
    active: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around a call that generates."""
        self.active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.active -= 1
            if not self.active:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no call generates."""
        await self._idle.wait()
