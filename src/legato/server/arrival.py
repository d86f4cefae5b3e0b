"""When a call came, by the kernel: the event loop may see it much later beside a busy engine."""

from __future__ import annotations

import time
from asyncio import BaseTransport
from socket import socket

from starlette.types import Scope

from legato import _native
from legato.clock import Clock

ARRIVED = "legato.arrived_ns"
"""An ASGI extension: when the last bytes of the call's head came, on the monotonic clock."""

HAVE_STAMPS = hasattr(_native, "next_arrival_ns")  # on Linux


def stamp_arrivals(listener: socket) -> None:
    """Have the kernel stamp what comes on the connections that `listener` accepts."""
    if HAVE_STAMPS:
        _native.stamp_arrivals(listener.fileno())


def next_arrival_ns(transport: BaseTransport) -> int:
    """When the bytes came that `transport` reads next; now, where nobody knows.

    Of an encrypted connection nobody does: its bytes are read before they are a request's.
    """
    plain = HAVE_STAMPS and transport.get_extra_info("ssl_object") is None
    stamp_ns = _native.next_arrival_ns(transport.get_extra_info("socket").fileno()) if plain else 0
    return stamp_ns or time.monotonic_ns()


def arrival_ns(scope: Scope, clock: Clock) -> int:
    """When a call came, on `clock`; now, where its server does not tell."""
    now_ns = clock.now_ns()
    arrived_ns: int | None = scope.get("extensions", {}).get(ARRIVED)
    return now_ns if arrived_ns is None else now_ns - (time.monotonic_ns() - arrived_ns)
