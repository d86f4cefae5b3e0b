"""The native receiver: nothing is lost, every piece has its time, sockets come and go."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from legato import _native
from legato.bench.stamped_connection import HAVE_RECEIVER

pytestmark = pytest.mark.skipif(not HAVE_RECEIVER, reason="only on Linux")
WAIT_S = 10.0


@dataclass
class Link:
    """A connection whose one end the receiver reads."""

    server: socket.socket
    client: socket.socket
    data: bytes = b""
    stamps_ns: list[int] = field(default_factory=list)
    pieces: int = 0
    closed: bool = False

    @property
    def number(self) -> int:
        return self.client.fileno()


@contextmanager
def link(receiver: _native.Receiver) -> Iterator[Link]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.setblocking(False)
        server, _ = listener.accept()
    receiver.add(client.fileno())
    try:
        yield Link(server, client)
    finally:
        receiver.remove(client.fileno())
        client.close()
        server.close()


def read_until(receiver: _native.Receiver, enough: Callable[[Link], object], *links: Link) -> None:
    """Take what comes until all links are as they should be."""
    by_number = {each.number: each for each in links}
    with selectors.DefaultSelector() as selector:
        selector.register(receiver.descriptor, selectors.EVENT_READ)
        while not all(enough(each) for each in links):
            assert selector.select(WAIT_S), "the receiver told nothing"
            for number in receiver.ready():
                each = by_number[number]
                data, ends, stamps_ns, closed, _ = receiver.take(number)
                assert len(ends) == len(stamps_ns)
                assert ends == sorted(ends)
                assert (ends[-1] if ends else 0) == len(data)
                each.data += data
                each.stamps_ns += stamps_ns
                each.pieces += len(ends)
                each.closed |= closed


def longer_than(size: int) -> Callable[[Link], bool]:
    return lambda it: len(it.data) > size


def test_pieces_come_whole_with_the_time_they_came() -> None:
    receiver = _native.Receiver()
    with link(receiver) as one:
        before_ns = time.monotonic_ns()
        one.server.sendall(b"first")
        read_until(receiver, lambda it: it.data == b"first", one)
        one.server.sendall(b"second")
        read_until(receiver, lambda it: it.data == b"firstsecond", one)
        assert before_ns <= one.stamps_ns[0] <= one.stamps_ns[-1] <= time.monotonic_ns()


def test_a_piece_is_stamped_when_it_came_and_not_when_it_was_taken() -> None:
    receiver = _native.Receiver()
    with link(receiver) as one, link(receiver) as other:
        receiver.set_eager(one.number, False)
        one.server.sendall(b"nobody is told of this")
        other.server.sendall(b"of this one is told")
        read_until(receiver, lambda it: it.data, other)
        came_before_ns = time.monotonic_ns()
        one.server.sendall(b"\r\n\r\n")
        read_until(receiver, lambda it: it.data.endswith(b"\r\n\r\n"), one)
        assert one.stamps_ns[0] <= came_before_ns


def test_many_streams_are_kept_apart() -> None:
    receiver = _native.Receiver()
    with ExitStack() as stack:
        links = [stack.enter_context(link(receiver)) for _ in range(20)]
        for round_ in range(10):
            for number, each in enumerate(links):
                each.server.sendall(b"%d:%d;" % (number, round_))
        read_until(receiver, lambda it: it.data.count(b";") == 10, *links)
    for number, each in enumerate(links):
        assert each.data == b"".join(b"%d:%d;" % (number, round_) for round_ in range(10))


@pytest.mark.parametrize("ending", [b"0\r\n\r\n", b"x", b"much\r\n\r\n"])
def test_what_may_end_a_response_is_told_at_once(ending: bytes) -> None:
    receiver = _native.Receiver()
    with link(receiver) as one:
        receiver.set_eager(one.number, False)
        one.server.sendall(ending)
        read_until(receiver, lambda it: it.data, one)
        assert one.data == ending


def test_more_than_a_buffer_comes_in_order() -> None:
    receiver = _native.Receiver()
    sent = bytes(range(256)) * 4096
    with link(receiver) as one:
        one.server.setblocking(False)
        rest = memoryview(sent)
        while rest:
            try:
                rest = rest[one.server.send(rest) :]
            except BlockingIOError:
                read_until(receiver, longer_than(len(one.data)), one)
        read_until(receiver, lambda it: len(it.data) == len(sent), one)
        assert one.data == sent


def test_a_closed_connection_is_told_once_after_its_data() -> None:
    receiver = _native.Receiver()
    with link(receiver) as one:
        one.server.sendall(b"last words")
        one.server.close()
        read_until(receiver, lambda it: it.closed, one)
        assert one.data == b"last words"
        assert receiver.ready() == []


def test_a_socket_that_was_removed_is_not_read() -> None:
    receiver = _native.Receiver()
    with link(receiver) as one, link(receiver) as other:
        receiver.remove(one.number)
        one.server.sendall(b"for somebody else")
        other.server.sendall(b"x")
        read_until(receiver, lambda it: it.data, other)
        assert receiver.take(one.number) == (b"", [], [], False, 0)
        with selectors.DefaultSelector() as selector:
            selector.register(one.client, selectors.EVENT_READ)
            assert selector.select(WAIT_S)
        assert one.client.recv(100) == b"for somebody else"


def test_a_socket_that_is_none_is_refused() -> None:
    with pytest.raises(RuntimeError, match="epoll"):
        _native.Receiver().add(10_000)
