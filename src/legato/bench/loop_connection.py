"""A connection that the event loop reads: for encrypted ones, and where nothing better is."""

from __future__ import annotations

import asyncio
import ssl
from itertools import accumulate
from typing import cast

from legato.bench.exchange import Address, Exchange
from legato.bench.outcome import FailureKind, RequestFailedError
from legato.clock import Clock

READ_BYTES = 1 << 16
MOST_WAITING = 256  # pieces that are kept before they are looked at
ENDING = b"\r\n\r\n"  # of a chunked body; no piece shorter than LAST_CHUNK can rule it out
LAST_CHUNK = b"0\r\n\r\n"


class LoopConnection(asyncio.BufferedProtocol):
    """Bytes are stamped when they are read and looked at later, many pieces at once: that costs
    less, and no stamp waits for the parsing of the piece before.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._view = memoryview(bytearray(READ_BYTES))
        self._waiting: list[bytes] = []
        self._stamps_ns: list[int] = []
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, address: Address, clock: Clock) -> LoopConnection:
        """Connect, or raise RequestFailedError."""
        context = ssl.create_default_context() if address.encrypted else None
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: cls(clock), address.host, address.port, ssl=context
            )
        except OSError as error:
            raise RequestFailedError(FailureKind.CONNECT, str(error)) from error
        return connection

    async def run(self, exchange: Exchange, request: bytes) -> None:
        """Send `request`; returns when the response is complete."""
        assert self._transport is not None
        self._exchange = exchange
        exchange.written_ns = self._clock.now_ns()
        self._transport.write(request)
        try:
            await exchange.finished
        finally:
            self._take_waiting()

    @property
    def is_open(self) -> bool:
        """Whether another exchange may be tried."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by asyncio: where the next bytes go."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Called by asyncio with bytes that have just been read."""
        now_ns = self._clock.now_ns()
        if self._exchange is None or self._exchange.finished.done():
            self.close()  # nobody asked for more
            return
        data = bytes(self._view[:nbytes])
        self._waiting.append(data)
        self._stamps_ns.append(now_ns)
        if not self._may_wait(self._exchange, data):
            self._take_waiting()

    def _may_wait(self, exchange: Exchange, data: bytes) -> bool:
        """Whether the response goes on after `data`, as far as a glance tells."""
        return (
            exchange.may_wait
            and len(data) >= len(LAST_CHUNK)
            and not data.endswith(ENDING)
            and len(self._waiting) < MOST_WAITING
        )

    def _take_waiting(self) -> None:
        waiting, stamps_ns = self._waiting, self._stamps_ns
        self._waiting, self._stamps_ns = [], []
        if self._exchange is not None:
            ends = list(accumulate(map(len, waiting)))
            self._exchange.take(b"".join(waiting), ends, stamps_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._take_waiting()
        if self._exchange is not None:
            self._exchange.lose(str(exc or ""))
        self._transport = None
