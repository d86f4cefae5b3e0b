"""Connections that a native thread reads; the kernel says when each piece came."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

from legato import _native
from legato.bench.exchange import Address, Exchange
from legato.bench.outcome import FailureKind, RequestFailedError
from legato.clock import Clock

HAVE_RECEIVER = hasattr(_native, "Receiver")  # on Linux


class Receiving:
    """Hands what the native receiver read to the connections. Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.receiver = _native.Receiver()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.receiver.descriptor, self._hand_over)
        self._connections: dict[int, StampedConnection] = {}
        self._known: dict[Address, asyncio.Future[list[tuple[Any, ...]]]] = {}

    async def open(self, address: Address) -> StampedConnection:
        """Connect, or raise RequestFailedError."""
        try:
            connected = await self._connect(address)
        except OSError as error:
            raise RequestFailedError(FailureKind.CONNECT, str(error)) from error
        connection = StampedConnection(connected, self)
        self._connections[connected.fileno()] = connection
        self.receiver.add(connected.fileno())
        return connection

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._connections.values()):
            connection.close()
        if not self._loop.is_closed():
            self._loop.remove_reader(self.receiver.descriptor)

    def forget(self, descriptor: int) -> None:
        """No longer receive on a socket; before it is closed."""
        self.receiver.remove(descriptor)
        del self._connections[descriptor]

    def _hand_over(self) -> None:
        for descriptor in self.receiver.ready():
            if connection := self._connections.get(descriptor):
                connection.take()

    async def _connect(self, address: Address) -> socket.socket:
        """The first of the host's addresses that answers."""
        if address not in self._known:
            asking = self._loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            self._known[address] = asyncio.ensure_future(asking)
        failure = OSError(f"{address.host} has no address")
        for family, kind, protocol, _, where in await asyncio.shield(self._known[address]):
            candidate = socket.socket(family, kind, protocol)
            candidate.setblocking(False)
            try:
                await self._loop.sock_connect(candidate, where)
            except OSError as error:
                candidate.close()
                failure = error
            except BaseException:
                candidate.close()
                raise
            else:
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return candidate
        raise failure


class StampedConnection:
    """One of them; see `Connection`."""

    def __init__(self, connected: socket.socket, receiving: Receiving) -> None:
        self.is_open = True
        self._socket = connected
        self._descriptor = connected.fileno()
        self._receiving = receiving
        self._exchange: Exchange | None = None

    async def run(self, exchange: Exchange, request: bytes) -> None:
        """Send `request`; returns when the response is complete."""
        self._exchange = exchange
        self._receiving.receiver.set_eager(self._descriptor, True)
        sending = asyncio.ensure_future(self._send(exchange, request))
        try:
            await exchange.finished
        finally:
            sending.cancel()
            self.take()

    async def _send(self, exchange: Exchange, request: bytes) -> None:
        """A connection that breaks meanwhile is told by what is received."""
        exchange.written_ns = self._receiving.clock.now_ns()
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self._socket, request)

    def take(self) -> None:
        """Parse what has come."""
        if not self.is_open:
            return
        receiver = self._receiving.receiver
        data, ends, stamps_ns, closed, error = receiver.take(self._descriptor)
        exchange = self._exchange
        if exchange is not None and not exchange.finished.done():
            exchange.take(data, ends, stamps_ns)
            if closed:
                exchange.lose(os.strerror(error) if error else "")
            receiver.set_eager(self._descriptor, not exchange.may_wait)
        elif data:
            closed = True  # nobody asked for more
        if closed:
            self.close()

    def close(self) -> None:
        """Drop the connection."""
        if self.is_open:
            self.is_open = False
            self._receiving.forget(self._descriptor)
            self._socket.close()
