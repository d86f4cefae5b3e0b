"""One request and its response on a connection: stamped pieces in, bytes of the body out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from legato.bench.outcome import FailureKind, RequestFailedError
from legato.bench.wire import HttpError, ResponseParser

OnBody = Callable[[bytes, int], None]  # bytes of the body, and when they came in ns
OnChunks = Callable[[bytes, list[int], Sequence[int], int], int]
"""Takes pieces from one on: their bytes, ends and stamps, and its number; how many it took."""


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


class Exchange:
    """Parses a response. `finished` is set when it is complete, or fails with what went wrong.

    Args:
        on_body: takes the body piece by piece, in order, with the time each piece came.
        on_chunks: is offered pieces that begin with a chunk of the body, as they came; what it does
            not take goes the usual way.
        at_once: call it when a piece comes, not only when there are many or the last is in.

    Attributes:
        response: what has come.
        answered: whether any of it is here.
        written_ns: when the connection began to write the request; 0 before.
    """

    def __init__(self, on_body: OnBody, on_chunks: OnChunks, *, at_once: bool = False) -> None:
        self.response = ResponseParser()
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered = False
        self.written_ns = 0
        self._on_body = on_body
        self._on_chunks = on_chunks
        self._at_once = at_once

    @property
    def may_wait(self) -> bool:
        """Whether pieces may be kept for later, as far as the response's head tells."""
        return self.response.chunked and not self._at_once

    def take(self, data: bytes, ends: list[int], stamps_ns: Sequence[int]) -> None:
        """Pieces that came; an error fails the exchange, unless it is over already.

        Args:
            data: the bytes of all of them.
            ends: where in `data` each piece ends.
            stamps_ns: when each came.
        """
        try:
            self._feed(data, ends, stamps_ns)
        except HttpError as error:
            self._finish(RequestFailedError(FailureKind.MALFORMED, str(error)))
        except RequestFailedError as error:
            self._finish(error)
        if self.response.ended:
            self._finish()

    def _feed(self, data: bytes, ends: list[int], stamps_ns: Sequence[int]) -> None:
        number, response = 0, self.response
        while number < len(ends):
            if response.between_chunks and (
                taken := self._on_chunks(data, ends, stamps_ns, number)
            ):
                number += taken
                continue
            self.answered = True
            start = ends[number - 1] if number else 0
            if body := response.feed(data[start : ends[number]]):
                self._on_body(body, stamps_ns[number])
            number += 1

    def lose(self, reason: str) -> None:
        """The connection is closed: that ends a response without a length, and breaks another."""
        self.response.finish()
        why = f": {reason}" if reason else ""
        broken = RequestFailedError(FailureKind.RESET, f"the connection was closed{why}")
        self._finish(None if self.response.ended else broken)

    def _finish(self, error: RequestFailedError | None = None) -> None:
        if self.finished.done():
            return
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)


class Connection(Protocol):
    """Carries one exchange at a time."""

    @property
    def is_open(self) -> bool:
        """Whether another exchange may be tried."""
        ...

    async def run(self, exchange: Exchange, request: bytes) -> None:
        """Send `request`, head and body; returns when the response is complete.

        Raises:
            RequestFailedError: the connection broke first, what came is not HTTP, or whoever
                takes the body raised it.
        """
        ...

    def close(self) -> None:
        """Drop the connection."""
        ...
