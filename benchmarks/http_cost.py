"""What HTTP costs: the same requests in process and through a server, in turns, in one run.

    python benchmarks/http_cost.py [--model MODEL] [--streams 32] [--tokens 64] [--rounds 3]

Throughput: `streams` streams at once, all tokens over the time until the last one; the server is
a process of its own, and the client that reads the streams runs on the same machine. Time to first
token: one short request after the other. The last line on stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from legato.assemble import assemble
from legato.async_engine import AsyncEngine
from legato.bench.own_server import running_server
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams
from legato.models.catalogue import DEFAULT_MODEL

PROMPT_TOKENS = 16
TTFT_REQUESTS = 15

Ask = Callable[[int, int], Awaitable[float]]
"""(number, tokens) → seconds to the first token, once all have come."""


def prompt_of(number: int) -> list[int]:
    """Token ids that no other request begins with."""
    return [1000 + number * 37 % 20_000 + place for place in range(PROMPT_TOKENS)]


@contextmanager
def engine_of(model: str) -> Iterator[Ask]:
    """Requests to an engine in this process."""
    clock = RealClock()
    engine = AsyncEngine(assemble(model, EngineConfig(), clock).engine, clock, max_waiting=512)
    engine.start()

    async def ask(number: int, tokens: int) -> float:
        params = SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=0.0)
        request = Request(id=f"{number}", prompt=tuple(prompt_of(number)), params=params)
        began, first = time.perf_counter(), 0.0
        async for _ in engine.generate(request):
            first = first or time.perf_counter() - began
        return first

    try:
        yield ask
    finally:
        engine.stop()


@contextmanager
def server_of(model: str) -> Iterator[Ask]:
    """Requests to a server process, each over a connection of its own."""
    with running_server(model) as server:

        async def ask(number: int, tokens: int) -> float:
            return await stream(server.port, number, tokens)

        yield ask


class Answer(asyncio.Protocol):
    """What one connection brings, read without parsing more than where it begins and ends."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.parts: list[bytes] = []
        self.asked_at = self.first_at = 0.0
        self.complete = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        self.asked_at = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self.parts.append(data)
        if not self.first_at and b"data: " in data:
            self.first_at = time.perf_counter()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has said all."""
        self.complete.set_result(b"".join(self.parts))


async def stream(port: int, number: int, tokens: int) -> float:
    """One streamed completion over a connection of its own."""
    fields = {"prompt": prompt_of(number), "max_tokens": tokens, "ignore_eos": True}
    wanted = {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0}
    body = json.dumps({**fields, **wanted}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    loop, request = asyncio.get_running_loop(), head.encode() + body
    _, answer = await loop.create_connection(lambda: Answer(request), "127.0.0.1", port)
    text = await answer.complete
    assert f'"completion_tokens": {tokens}'.encode() in text, text[-300:]
    assert b"[DONE]" in text
    return answer.first_at - answer.asked_at


async def tokens_per_s(ask: Ask, streams: int, tokens: int, start: int) -> float:
    """Of `streams` requests at once."""
    began = time.perf_counter()
    await asyncio.gather(*(ask(start + number, tokens) for number in range(streams)))
    return streams * tokens / (time.perf_counter() - began)


async def ttft_ms(ask: Ask, start: int) -> float:
    """Median of requests that come one after the other."""
    return statistics.median([await ask(start + n, 2) * 1e3 for n in range(TTFT_REQUESTS)])


async def measure(
    asks: dict[str, Ask], streams: int, tokens: int, rounds: int
) -> dict[str, object]:
    """All figures, both ways in turns."""
    rates: dict[str, list[float]] = {name: [] for name in asks}
    firsts: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(rounds + 1):
        for name, ask in asks.items():
            start = turn * (streams + TTFT_REQUESTS)
            rate = await tokens_per_s(ask, streams, tokens if turn else 2, start)
            first = await ttft_ms(ask, start + streams)
            if turn:  # the first turn warms up
                rates[name].append(rate)
                firsts[name].append(first)
                print(f"{name:8} {rate:8.1f} tokens/s   p50 TTFT {first:6.2f} ms")
    ratios = [http / own for own, http in zip(*rates.values(), strict=True)]
    added = [http - own for own, http in zip(*firsts.values(), strict=True)]
    return {
        "streams": streams,
        "tokens": tokens,
        "tokens_per_s": {name: statistics.median(values) for name, values in rates.items()},
        "ratio": statistics.median(ratios),
        "p50_ttft_ms": {name: statistics.median(values) for name, values in firsts.items()},
        "added_ttft_ms": statistics.median(added),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with engine_of(args.model) as own, server_of(args.model) as served:
        asks = {"engine": own, "http": served}
        figures = asyncio.run(measure(asks, args.streams, args.tokens, args.rounds))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
