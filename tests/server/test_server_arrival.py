"""A call came when its bytes did, and a token was delivered when its chunk was sent."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

import pytest
from fake_source import FakeSource, make_service
from live_server import LiveServer

from legato.clock import RealClock, VirtualClock
from legato.core import Request, SamplingParams
from legato.server.arrival import ARRIVED, HAVE_STAMPS, arrival_ns, stamp_arrivals
from legato.server.generation import Generation
from legato.server.respond import EventStream
from legato.server.run import connections
from legato.server.settings import ServerSettings

MS = 1_000_000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 204"


class Busy:
    """An app whose first call keeps the event loop until it is let go. When each call came."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.came_ns: list[int | None] = []

    async def __call__(self, scope, receive, send):
        self.came_ns.append(scope["extensions"][ARRIVED])
        self.entered.set()
        assert self.go_on.wait(10)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def served(app: Busy) -> Iterator[LiveServer]:
    with LiveServer(app, http=connections(ServerSettings())) as server:
        stamp_arrivals(server._socket)
        yield server


def read_answers(client: socket.socket, count: int) -> None:
    data = b""
    while data.count(ANSWER) < count:
        part = client.recv(65536)
        assert part
        data += part


@pytest.mark.skipif(not HAVE_STAMPS, reason="only on Linux")
def test_a_call_came_when_its_bytes_did_however_late_the_event_loop_sees_them():
    app = Busy()
    with served(app) as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address) as first, socket.create_connection(address) as other:
            first.sendall(GET)
            assert app.entered.wait(10)
            before_ns = time.monotonic_ns()
            other.sendall(GET)
            after_ns = time.monotonic_ns()
            app.go_on.set()
            read_answers(other, 1)
    assert app.came_ns[1] is not None
    assert before_ns - MS <= app.came_ns[1] <= after_ns + MS  # two clocks are compared


def test_of_a_call_that_came_behind_another_nobody_says_when_it_came():
    app = Busy()
    app.go_on.set()
    with served(app) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(GET + GET)
        read_answers(client, 2)
    assert app.came_ns[0] is not None
    assert app.came_ns[1] is None


def test_a_call_came_now_where_its_server_does_not_tell():
    assert arrival_ns({"type": "http"}, VirtualClock(5 * MS)) == 5 * MS
    assert arrival_ns({"type": "http", "extensions": {ARRIVED: None}}, VirtualClock(7)) == 7


def test_an_arrival_is_told_in_the_time_of_the_service():
    arrived_ns = time.monotonic_ns() - 3 * MS
    scope = {"type": "http", "extensions": {ARRIVED: arrived_ns}}
    assert arrival_ns(scope, VirtualClock(20 * MS)) <= 17 * MS
    assert abs(arrival_ns(scope, RealClock()) - arrived_ns) < 1000 * MS


def deliver(generation: Generation, clock: VirtualClock, pieces: int) -> None:
    """Take so many pieces, each of which needs a millisecond to be sent."""

    async def take() -> None:
        stream = generation.pieces()
        for _ in range(pieces):
            await anext(stream)
            clock.advance(MS)
        await stream.aclose()

    asyncio.run(take())


def generation_of(reply: str, clock: VirtualClock) -> Generation:
    service = make_service(FakeSource(reply=reply), clock=clock)
    params = SamplingParams(max_tokens=len(reply.encode()))
    return Generation(service, [Request(id="r", prompt=(1,), params=params)], clock.now_ns())


def test_a_token_is_delivered_at_the_latest_when_the_next_piece_is_wanted():
    clock = VirtualClock()
    generation = generation_of("abcd", clock)
    deliver(generation, clock, 4)
    # the last piece may carry all these times, so that its own is taken before
    assert generation.timelines[0].stamps_ns == [1 * MS, 2 * MS, 3 * MS, 3 * MS]


def test_tokens_without_text_of_their_own_are_delivered_with_the_piece_that_has_it():
    clock = VirtualClock()
    generation = generation_of("aé" + "b", clock)  # two tokens are one character
    deliver(generation, clock, 3)
    assert generation.timelines[0].stamps_ns == [1 * MS, 2 * MS, 2 * MS, 2 * MS]


def test_a_token_is_delivered_when_its_chunk_goes_out():
    clock = VirtualClock()
    generation = generation_of("ab", clock)

    async def stream() -> None:
        async with aclosing(generation.pieces()) as pieces:
            await anext(pieces)
            clock.advance(MS)
            generation.delivered()
            clock.advance(MS)
            await anext(pieces)

    asyncio.run(stream())
    assert generation.timelines[0].stamps_ns == [1 * MS, 2 * MS]


def test_a_stream_tells_when_each_chunk_goes_out():
    told, sent = [], []

    async def rest():
        yield b"two"

    async def send(message):
        sent.append(message.get("body"))

    async def receive():
        await asyncio.Event().wait()

    stream = EventStream(b"one", rest(), lambda error: b"", sending=lambda: told.append(len(sent)))
    asyncio.run(stream({"type": "http"}, receive, send))
    assert sent == [None, b"one", b"two", b""]
    assert told == [1, 2]  # just before the first chunk, and just before the second


def test_tokens_count_from_when_they_were_taken():
    clock = VirtualClock()
    generation = generation_of("abcd", clock)

    async def take_one() -> None:
        stream = generation.pieces()
        await anext(stream)
        assert generation.output_tokens == 1
        await stream.aclose()

    asyncio.run(take_one())
    assert generation.timelines[0].output_tokens == 1
