"""Sending: JSON and server-sent events, and noticing that nobody listens any more."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from legato.server.errors import ApiError, to_api_error, unavailable
from legato.server.settings import ServerSettings

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"
SEND_PART = "legato.send_part"
"""An ASGI extension: sends one part of a body that has no length, in less time than a message."""

SendPart = Callable[[bytes], Awaitable[None]]
logger = logging.getLogger("legato.server")


class ClientGoneError(Exception):
    """The client closed the connection; whatever it asked for has been cancelled."""


def json_response(document: dict[str, Any]) -> Response:
    """A 200 with `document`."""
    return Response(json.dumps(document), media_type="application/json")


def event(document: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def answer_deadline(settings: ServerSettings) -> float | None:
    """When an answer that begins now must be complete, in the time of the event loop."""
    limit = settings.request_timeout
    return asyncio.get_running_loop().time() + limit if limit else None


async def until_disconnect(
    receive: Receive, work: Coroutine[Any, Any, T], deadline: float | None = None
) -> T:
    """Run `work`, but cancel it as soon as the client is gone or `deadline` (loop time) is over.

    Raises:
        ClientGoneError: the client went away first; `work` has ended when this is raised.
        ApiError: the deadline came first; likewise.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnected(receive))
    try:
        timeout = None if deadline is None else max(0.0, deadline - loop.time())
        await asyncio.wait((task, watcher), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if watcher.done():
            raise ClientGoneError
        raise unavailable("the answer took too long; ask for fewer tokens", "request_timeout")
    finally:
        task.cancel()
        watcher.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """A 200 whose body is `first` and then every chunk of `rest`.

    An error in `rest`, or the end of the `deadline` (loop time), becomes one last event, rendered
    by `failure`, and the stream ends without [DONE]. When the client goes away `rest` is closed,
    which cancels the generation. `sending` is called just before each of these chunks goes out.
    """

    def __init__(
        self,
        first: bytes,
        rest: AsyncGenerator[bytes, None],
        failure: Callable[[ApiError], bytes],
        deadline: float | None = None,
        sending: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            status_code=200,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            media_type="text/event-stream",
        )
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._failure = failure
        self._deadline = deadline
        self._sending = sending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, or stop when the client is gone or the deadline over."""
        try:
            work = self._send_all(send, _part_sender(scope, send))
            await until_disconnect(receive, work, self._deadline)
        except ApiError as error:
            await send(_body(self._failure(error), more=True))
            await send(_body(b"", more=False))

    async def _send_all(self, send: Send, send_part: SendPart) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with aclosing(self._rest):
            await send(start)
            self._sending()
            await send_part(self._first)
            try:
                async for chunk in self._rest:
                    self._sending()
                    await send_part(chunk)
            except Exception as error:
                await send_part(self._failure(_logged(error)))
        await send(_body(b"", more=False))


def _part_sender(scope: Scope, send: Send) -> SendPart:
    """How the server of this call sends parts of a body."""
    extension: SendPart | None = scope.get("extensions", {}).get(SEND_PART)

    async def send_message(chunk: bytes) -> None:
        await send(_body(chunk, more=True))

    return extension or send_message


def _body(chunk: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def _logged(error: Exception) -> ApiError:
    """What ended a stream, for the caller; what is our fault goes to the log whole."""
    failure = to_api_error(error)
    if failure.code == "internal":
        logger.error("a stream failed", exc_info=error)
    return failure
