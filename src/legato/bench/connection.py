"""One connection to a server: bytes of a response are stamped as they come."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from legato.bench.outcome import FailureKind, RequestFailedError
from legato.bench.wire import HttpError, ResponseParser
from legato.clock import Clock

OnBody = Callable[[bytes, int], None]  # bytes of the body, and when they came in ns
READ_BYTES = 1 << 16
MOST_WAITING = 256  # pieces that are kept before they are looked at
ENDING = b"\r\n\r\n"  # of a chunked body; no piece shorter than LAST_CHUNK can rule it out
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads: host, port, and whether the connection is encrypted."""

    host: str
    port: int
    encrypted: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """The address of an http or https URL."""
        parts = urlsplit(url)
        encrypted = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if encrypted else 80), encrypted)


class Connection(asyncio.BufferedProtocol):
    """Carries one exchange at a time. `response` is the one that came last.

    Bytes are stamped when they come and looked at later, many pieces at once: that costs less,
    and no stamp waits for the parsing of the piece before.
    """

    def __init__(self, clock: Clock) -> None:
        self.response = ResponseParser()
        self.received = 0
        self._clock = clock
        self._view = memoryview(bytearray(READ_BYTES))
        self._waiting: list[bytes] = []
        self._stamps_ns: list[int] = []
        self._at_once = False
        self._on_body: OnBody | None = None
        self._finished: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, address: Address, clock: Clock) -> Connection:
        """Connect, or raise RequestFailedError."""
        context = ssl.create_default_context() if address.encrypted else None
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: cls(clock), address.host, address.port, ssl=context
            )
        except OSError as error:
            raise RequestFailedError(FailureKind.CONNECT, str(error)) from error
        return connection

    async def exchange(self, request: bytes, on_body: OnBody, *, at_once: bool = False) -> None:
        """Send `request`; returns when the response is complete.

        Args:
            request: head and body.
            on_body: takes the body piece by piece, in order, with the time each piece came.
            at_once: call it when a piece comes, not only when there are many or the last is in.

        Raises:
            RequestFailedError: the connection broke first, what came is not HTTP, or `on_body`
                raised it.
        """
        assert self._transport is not None
        self.response, self.received = ResponseParser(), 0
        self._on_body, self._at_once = on_body, at_once
        self._finished = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await self._finished
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
        if self._finished is None or self._finished.done():
            self.close()  # nobody asked for more
            return
        self.received += nbytes
        data = bytes(self._view[:nbytes])
        self._waiting.append(data)
        self._stamps_ns.append(now_ns)
        if not self._may_wait(data):
            self._take_waiting()

    def _may_wait(self, data: bytes) -> bool:
        """Whether the response goes on after `data`, as far as a glance tells."""
        return (
            self.response.chunked
            and not self._at_once
            and len(data) >= len(LAST_CHUNK)
            and not data.endswith(ENDING)
            and len(self._waiting) < MOST_WAITING
        )

    def _take_waiting(self) -> None:
        """Parse what has come; an error fails the exchange, unless it is over already."""
        waiting, stamps_ns = self._waiting, self._stamps_ns
        self._waiting, self._stamps_ns = [], []
        on_body = self._on_body
        if on_body is None:
            return
        try:
            for data, now_ns in zip(waiting, stamps_ns, strict=True):
                if body := self.response.feed(data):
                    on_body(body, now_ns)
        except HttpError as error:
            self._finish(RequestFailedError(FailureKind.MALFORMED, str(error)))
        except RequestFailedError as error:
            self._finish(error)
        if self.response.ended:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._take_waiting()
        self.response.finish()
        reason = f": {exc}" if exc else ""
        broken = RequestFailedError(FailureKind.RESET, f"the connection was closed{reason}")
        self._finish(None if self.response.ended else broken)
        self._transport = None

    def _finish(self, error: RequestFailedError | None = None) -> None:
        if self._finished is None or self._finished.done():
            return
        if error is None:
            self._finished.set_result(None)
        else:
            self._finished.set_exception(error)
