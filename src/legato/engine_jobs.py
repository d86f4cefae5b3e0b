"""Computations beside the requests: embeddings, log-probabilities of a given text.

`AsyncEngine.compute` hands them in. They are done piece by piece, one after each step, so that
the streams go on; who is next is decided as among requests, by what the tenants have had.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from legato.clock import Clock
from legato.core import Tenant
from legato.engine import Engine
from legato.errors import LegatoError
from legato.scheduler.fairness import Shares

Job = Callable[[Engine], Iterator[Any]]
"""Given the engine, computes piece by piece; closed early where nobody waits any more."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Computed:
    """What a job gave, piece by piece, and the machine time that it took."""

    pieces: list[Any] = field(default_factory=list)
    machine_ns: int = 0


@dataclass(slots=True, eq=False)
class Pending:
    """A job, whose it is, who waits for it, and what it has given so far."""

    job: Job
    tenant: Tenant
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Computed]
    result: Computed = field(default_factory=Computed)
    iterator: Iterator[Any] | None = None
    is_wanted: bool = True


class EngineJobs:
    """Jobs; those of one tenant in order of arrival. `add`, `waiting` and `end` may be called from
    any thread."""

    def __init__(self, clock: Clock) -> None:
        """`clock` is the engine's."""
        self._clock = clock
        self._queue: deque[Pending] = deque()
        self._shares = Shares()

    def __len__(self) -> int:
        return len(self._queue)

    def waiting(self) -> Counter[Tenant]:
        """Jobs of each tenant."""
        return Counter(pending.tenant for pending in tuple(self._queue))

    def add(self, job: Job, tenant: Tenant) -> Pending:
        """Let `job` wait for its turn; called in the event loop that waits for it."""
        loop = asyncio.get_running_loop()
        pending = Pending(job, tenant, loop, loop.create_future())
        self._queue.append(pending)
        return pending

    def advance(self, engine: Engine) -> None:
        """One piece of the job whose turn it is, in the engine's thread."""
        pending = self._next()
        if pending is None:
            return
        start_ns = self._clock.now_ns()
        try:
            if self._take_piece(pending, engine):
                return
            outcome: Computed | Exception = pending.result
        except LegatoError as error:
            outcome = error
        except Exception as error:
            _log.exception("a computation beside the requests failed")
            outcome = LegatoError(f"the engine failed on this request ({type(error).__name__})")
        finally:
            spent_ns = self._clock.now_ns() - start_ns
            pending.result.machine_ns += spent_ns
            self._shares.charge(pending.tenant, spent_ns)
        with suppress(ValueError):  # `end` may have taken it meanwhile
            self._queue.remove(pending)
        _settle(pending, outcome)

    def end(self, error: LegatoError) -> None:
        """Fail every job: the engine has stopped."""
        while self._queue:
            _settle(self._queue.popleft(), error)

    def _next(self) -> Pending | None:
        """The job that has begun, else the first of the tenant that has had least."""
        queue = tuple(self._queue)
        begun = next((pending for pending in queue if pending.iterator is not None), None)
        if begun is not None or not queue:
            return begun
        self._shares.update({pending.tenant for pending in queue})
        return min(queue, key=lambda pending: self._shares.served(pending.tenant))

    def _take_piece(self, pending: Pending, engine: Engine) -> bool:
        """Whether the job gave another piece; False at its end."""
        if not pending.is_wanted:
            _close(pending.iterator)
            return False
        if pending.iterator is None:
            pending.iterator = pending.job(engine)
        for piece in pending.iterator:
            pending.result.pieces.append(piece)
            return True
        return False


def _close(iterator: Iterator[Any] | None) -> None:
    """Release what a generator holds."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _settle(pending: Pending, outcome: Computed | Exception) -> None:
    try:
        pending.loop.call_soon_threadsafe(partial(_set, pending.future, outcome))
    except RuntimeError:
        _log.debug("nobody waits any more for a computation: its event loop is closed")


def _set(future: asyncio.Future[Computed], outcome: Computed | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
