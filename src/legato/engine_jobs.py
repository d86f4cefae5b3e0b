"""Computations beside the requests: embeddings, log-probabilities of a given text.

`AsyncEngine.compute` hands them in. They are done piece by piece, one after
each step, so that the streams go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from legato.engine import Engine
from legato.errors import LegatoError

Job = Callable[[Engine], Iterator[Any]]
"""Given the engine, computes piece by piece; closed early where nobody waits any more."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Pending:
    """A job, who waits for it, and what it has given so far."""

    job: Job
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Any]]
    pieces: list[Any] = field(default_factory=list)
    iterator: Iterator[Any] | None = None
    is_wanted: bool = True


class EngineJobs:
    """Jobs in order of arrival. `add` and `end` may be called from any thread."""

    def __init__(self) -> None:
        self._queue: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, job: Job) -> Pending:
        """Let `job` wait for its turn; called in the event loop that waits for it."""
        loop = asyncio.get_running_loop()
        pending = Pending(job, loop, loop.create_future())
        self._queue.append(pending)
        return pending

    def advance(self, engine: Engine) -> None:
        """One piece of the first job, in the engine's thread."""
        if not self._queue:
            return
        pending = self._queue[0]
        try:
            if self._take_piece(pending, engine):
                return
            outcome: list[Any] | Exception = pending.pieces
        except LegatoError as error:
            outcome = error
        except Exception as error:
            _log.exception("a computation beside the requests failed")
            outcome = LegatoError(f"the engine failed on this request ({type(error).__name__})")
        with suppress(ValueError):  # `end` may have taken it meanwhile
            self._queue.remove(pending)
        _settle(pending, outcome)

    def end(self, error: LegatoError) -> None:
        """Fail every job: the engine has stopped."""
        while self._queue:
            _settle(self._queue.popleft(), error)

    def _take_piece(self, pending: Pending, engine: Engine) -> bool:
        """Whether the job gave another piece; False at its end."""
        if not pending.is_wanted:
            _close(pending.iterator)
            return False
        if pending.iterator is None:
            pending.iterator = pending.job(engine)
        for piece in pending.iterator:
            pending.pieces.append(piece)
            return True
        return False


def _close(iterator: Iterator[Any] | None) -> None:
    """Release what a generator holds."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _settle(pending: Pending, outcome: list[Any] | Exception) -> None:
    try:
        pending.loop.call_soon_threadsafe(partial(_set, pending.future, outcome))
    except RuntimeError:
        _log.debug("nobody waits any more for a computation: its event loop is closed")


def _set(future: asyncio.Future[list[Any]], outcome: list[Any] | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
