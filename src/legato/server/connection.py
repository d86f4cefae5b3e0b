"""One HTTP/1.1 connection that waits for nobody for ever, and that refuses in OpenAI's words.

uvicorn bounds how long an idle connection is kept, but not how long a client may take to send a
request's head, nor how long bytes wait for a client that does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from legato.server.arrival import ARRIVED, next_arrival_ns
from legato.server.errors import ApiError
from legato.server.respond import SEND_PART

MAX_HEAD = 64 << 10
"""Most bytes of a request's line and headers."""

READ_BYTES = 64 << 10


class Connection(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's connection with three deadlines: for a head, for the rest of a body that nobody
    wants any more, and for a client that takes nothing. It knows when each call's head came."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - uvicorn's own
        head_timeout: float,
        write_timeout: float,
        buffer: memoryview,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """`buffer` may be that of all connections of an event loop: its bytes are copied."""
        super().__init__(*args, **kwargs)
        self._buffer = buffer
        self._arrived_ns: int | None = None
        self._app, self.app = self.app, self._answer
        self._head_timeout = head_timeout
        self._write_timeout = write_timeout
        self._head_timer = _Timer(self.loop)
        self._write_timer = _Timer(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected. Its stream may hold one chunk, beside the kernel's buffer."""
        transport.set_write_buffer_limits(high=1)  # TLS transports never go on after 0
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._head_timer.stop()
        self._write_timer.stop()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go. Called just before they are read: now it is known when those of
        a head came. Not its first ones: who sends slowly does not come earlier by it."""
        if self.conn.their_state is h11.IDLE:
            self._arrived_ns = next_arrival_ns(self.transport)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have been read."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes of a request. More of them do not extend a deadline."""
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        """An answer was written."""
        super().on_response_complete()
        self._watch_head()

    def pause_writing(self) -> None:
        """The kernel takes no more; the client has until the deadline to read."""
        super().pause_writing()
        self._write_timer.start(self._write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """All bytes are out."""
        self._write_timer.stop()
        super().resume_writing()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, which may send parts of a body past h11. Of a call whose head came before the
        answer to the last one was sent nobody says when it came."""
        arrived_ns, self._arrived_ns = self._arrived_ns, None
        scope["extensions"] = {SEND_PART: self._send_part, ARRIVED: arrived_ns}
        await self._app(scope, receive, send)

    async def _send_part(self, data: bytes) -> None:
        """What an ASGI message with this part of a body would do, after a head that announced no
        length. h11 takes longer for a part than all else that a token costs here."""
        if self.flow.write_paused and not self.cycle.disconnected:
            await self.flow.drain()
        if self.cycle.disconnected or not data:
            return
        is_chunked = self.conn.their_http_version != b"1.0"
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if is_chunked else data)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or has too large a head."""
        if len(self.conn.trailing_data[0]) > MAX_HEAD:
            self._refuse(ApiError(431, f"the head is larger than {MAX_HEAD} bytes"))
        else:
            self._refuse(ApiError(400, "this is not a valid HTTP request"))

    def _watch_head(self) -> None:
        """Start the deadline where the client is to send something that no call reads."""
        state = self.conn.their_state
        answered = self.cycle is not None and self.cycle.response_complete
        if state is h11.IDLE or (state is h11.SEND_BODY and answered):
            self._head_timer.start(self._head_timeout, self._too_slow)
        else:
            self._head_timer.stop()

    def _too_slow(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            message = f"the head did not arrive within {self._head_timeout:g} s"
            self._refuse(ApiError(408, message, code="timeout"))
        self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = error.response()
            headers = [*response.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=error.status, headers=headers),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Timer:
    """Calls a function once, unless it is stopped before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def start(self, delay: float, function: Callable[[], None]) -> None:
        if self._handle is None:
            self._handle = self._loop.call_later(delay, function)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
