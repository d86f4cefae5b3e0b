"""A small server that replays scripted answers, on time or misbehaving; for tests of clients.

The scripts are used one a request, from the first again after the last. As `legato.timing` the
server sends what it measured itself, so that a client can be held against it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import cycle
from types import TracebackType
from typing import Any

from legato.bench.script import Script, Step
from legato.clock import Clock, RealClock

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
NS_PER_MS = 1e6


class ReplayServer:
    """An asynchronous context. `url` is known inside it; `served` counts the requests.

    Args:
        scripts: what it plays.
        host: where it listens.
        port: likewise; 0 takes a free one.
        parallel: answers that play at the same time, the others wait their turn; 0 is any number.
        clock: of its own figures.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        parallel: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.served = 0
        self._scripts: Iterator[Script] = cycle(scripts)
        self._host, self._port = host, port
        self._turns = asyncio.Semaphore(parallel) if parallel else nullcontext()
        self._clock = clock or RealClock()
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"http://{self._host}:{port}"

    async def __aenter__(self) -> ReplayServer:
        self._server = await asyncio.start_server(self._serve, self._host, self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            while await _read_request(reader):
                arrival_ns = self._clock.now_ns()
                self.served += 1
                async with self._turns:
                    await _Reply(writer, next(self._scripts), self._clock, arrival_ns).send()
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or the server stops
        finally:
            self._calls.discard(call)
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> bool:
    """Take one request, whatever it says; false when the client has gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((line[15:] for line in lines if line.startswith(b"content-length:")), b"0")
        await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        return False
    return True


class _Reply:
    """One script on one connection."""

    def __init__(
        self, writer: asyncio.StreamWriter, script: Script, clock: Clock, arrival_ns: int
    ) -> None:
        self._writer = writer
        self._script = script
        self._clock = clock
        self._arrival_ns = arrival_ns
        self._first_ns = 0

    async def send(self) -> None:
        script = self._script
        if script.silent:
            await asyncio.Event().wait()
        if script.status != 200:
            self._writer.write(_refusal(script.status))
            return
        self._writer.write(HEAD)
        if script.role:
            self._write(_chunk({"delta": {"role": "assistant", "content": ""}}))
        for step in script.steps:
            await self._play(step)
        if script.reset:
            self._writer.transport.abort()
            return
        self._write(self._ending())
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def _play(self, step: Step) -> None:
        await asyncio.sleep(step.after_ms / 1000)
        if step.raw:
            self._write(step.raw.encode("latin-1"))
        elif step.comment:
            self._write(f": {step.comment}\n\n".encode())
        else:
            self._first_ns = self._first_ns or self._clock.now_ns()
            self._write(_chunk({"delta": {"content": step.text}}))

    def _ending(self) -> bytes:
        script = self._script
        ending = b""
        if script.finish_reason:
            ending += _chunk({"delta": {}}, finish_reason=script.finish_reason)
        if script.usage:
            ending += _event({"choices": [], "usage": self._usage(), "legato": self._timing()})
        return ending + (b"data: [DONE]\n\n" if script.done else b"")

    def _usage(self) -> dict[str, int]:
        taken, given = self._script.prompt_tokens, self._script.tokens
        return {
            "prompt_tokens": taken,
            "completion_tokens": given,
            "total_tokens": taken + given,
        }

    def _timing(self) -> dict[str, Any]:
        waited = (self._first_ns - self._arrival_ns) / NS_PER_MS if self._first_ns else None
        return {"timing": {"ttft_ms": waited}}

    def _write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the client has gone")
        size = self._script.cut or max(1, len(data))
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self._writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def _event(document: dict[str, Any]) -> bytes:
    """Characters stay as they are, so that cuts may fall inside them."""
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def _chunk(choice: dict[str, Any], finish_reason: str | None = None) -> bytes:
    whole = {"index": 0, **choice, "finish_reason": finish_reason}
    return _event({"object": "chat.completion.chunk", "choices": [whole], "usage": None})


def _refusal(status: int) -> bytes:
    body = json.dumps({"error": {"message": f"scripted {status}", "code": None}}).encode()
    head = f"HTTP/1.1 {status} Scripted\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body
