"""The engine for asyncio: one thread owns it, any number of event loops listen.

Requests and cancellations go to the thread through an inbox; each step's events go to every event
loop in one call. The thread sleeps while there is nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from legato.clock import Clock
from legato.core import NOBODY, Request, Tenant, TokenEvent
from legato.engine import Engine
from legato.engine import EngineStats as EngineStats
from legato.engine import SpeculationFigures as SpeculationFigures
from legato.engine_jobs import Computed, EngineJobs, Job
from legato.errors import EngineStoppedError, InvalidRequestError, LegatoError, OverloadedError
from legato.event_stream import EventStream, Sendings, send
from legato.scheduler.fair_load import Arrived, rows_before
from legato.scheduler.fairness import may_queue

RETRY_AFTER_S = 1.0
"""What a refused caller is told to wait."""

_NS = 1e9
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStats:
    """How the engine is doing now.

    Attributes:
        alive: the thread runs; False for good after `stop` or a failure.
        engine: figures of the last completed step.
        last_step_age_s: time without progress although there is work; 0 while idle.
        oldest_waiting_s: age of the oldest request that has never run; 0 without one.
    """

    alive: bool
    engine: EngineStats
    last_step_age_s: float
    oldest_waiting_s: float


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: str
    index: int | None


class AsyncEngine:
    """Streams of token events from an engine in a thread of its own. Safe from any thread."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        max_waiting: int,
        on_step: Callable[[EngineStats], None] = lambda stats: None,
    ) -> None:
        """Takes `engine` over: nobody else may use it, and `stop` closes it.

        Args:
            clock: the engine's clock.
            max_waiting: most requests that wait for their first step; one more is refused.
            on_step: called in the engine's thread after every step; must be quick and not raise.
        """
        self._on_step = on_step
        self.max_context = engine.max_context
        self._engine = engine
        self._clock = clock
        self._max_waiting = max_waiting
        self._changed = threading.Condition()  # guards everything below
        self._inbox: list[Request | _Cancel] = []
        self._streams: dict[str, EventStream] = {}
        self._leaving: set[str] = set()  # nobody listens, but the engine may still have events
        self._unseen: list[Arrived] = []  # came after `_stats` and `_load`
        self._jobs = EngineJobs(clock)
        self._closed: str | None = "the engine has not been started"
        self._stopping = False
        self._idle = True
        self._progress_ns = clock.now_ns()
        self._stats = engine.stats()
        self._load = engine.load()
        self._thread = threading.Thread(target=self._main, name="legato-engine", daemon=True)

    def start(self) -> None:
        """Start the thread. Once."""
        self._thread.start()
        with self._changed:
            if not self._stopping:
                self._closed = None

    async def generate(self, request: Request) -> AsyncGenerator[TokenEvent, None]:
        """The events of all samples of `request`. Closing the iterator cancels the request.

        Raises, at the first event:
            InvalidRequestError, CapacityError: it cannot be honoured, ever.
            OverloadedError: too many requests wait, or its first token is out of reach.
            EngineStoppedError: the engine was stopped or failed; later too.
        """
        stream = self._submit(request)
        unfinished = request.params.n
        try:
            while unfinished:
                if not stream.arrived:
                    await stream.wait()
                event = stream.arrived.popleft()
                if isinstance(event, LegatoError):
                    raise event
                unfinished -= event.finish_reason is not None
                yield event
        finally:
            if unfinished:
                self._leave(request.id, stream)

    async def compute(self, job: Job, tenant: Tenant = NOBODY) -> Computed:
        """What `job`, given the engine, yields; computed piece by piece between the steps, on
        account of `tenant`.

        Raises what the job raises, OverloadedError where too many wait, EngineStoppedError.
        """
        with self._changed:
            self._check_open(self._jobs.waiting(), tenant)
            pending = self._jobs.add(job, tenant)
            self._changed.notify_all()
        try:
            return await pending.future
        finally:
            pending.is_wanted = False

    def cancel(self, request_id: str, index: int | None = None) -> None:
        """End a request, or one of its samples; its stream gets the CANCELLED events."""
        self._send(_Cancel(request_id, index))

    def stats(self) -> LiveStats:
        """The state now; takes no lock."""
        stats, now_ns = self._stats, self._clock.now_ns()
        oldest = stats.oldest_waiting_ns
        return LiveStats(
            alive=self._thread.is_alive() and not self._stopping,
            engine=stats,
            last_step_age_s=0.0 if self._idle else (now_ns - self._progress_ns) / _NS,
            oldest_waiting_s=0.0 if oldest is None else (now_ns - oldest) / _NS,
        )

    async def drain(self, timeout: float) -> bool:
        """Refuse new requests and wait for the live ones; False if some are left after
        `timeout` seconds."""
        with self._changed:
            self._closed = self._closed or "the engine is shutting down"
        return await asyncio.to_thread(self._wait_until_empty, timeout)

    def stop(self, timeout: float = 10.0) -> None:
        """End every stream with EngineStoppedError, then the thread. Idempotent.

        A step that runs is waited for, at most `timeout` seconds.
        """
        self._shut("the engine was stopped")
        if self._thread.ident is None:
            self._engine.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _submit(self, request: Request) -> EventStream:
        self._engine.check(request)
        stream = EventStream(asyncio.get_running_loop(), request.params.n)
        with self._changed:
            self._check_open(self._waiting(), request.tenant)
            if request.id in self._streams or request.id in self._leaving:
                raise InvalidRequestError(f"a live request has the id {request.id!r}", "id")
            urgency = self._engine.urgency(request)
            before = rows_before(self._unseen, request, urgency)
            self._engine.check_load(request, self._load, before)
            self._unseen.append((urgency, request))
            self._streams[request.id] = stream
            self._inbox.append(request)
            self._changed.notify_all()
        return stream

    def _waiting(self) -> Counter[Tenant]:
        """Requests of each tenant that wait for their first step."""
        return Counter(self._load.unstarted) + Counter(r.tenant for _, r in self._unseen)

    def _check_open(self, waiting: Counter[Tenant], newcomer: Tenant) -> None:
        """Refuse what comes after the end, and beyond what may wait."""
        if self._closed is not None:
            raise EngineStoppedError(self._closed)
        if not may_queue(waiting, newcomer, self._max_waiting):
            raise OverloadedError(
                f"{waiting.total()} requests are waiting already; try again later", RETRY_AFTER_S
            )

    def _leave(self, request_id: str, stream: EventStream) -> None:
        """The consumer of `stream` has gone before its end."""
        with self._changed:
            if self._streams.get(request_id) is not stream:
                return
            del self._streams[request_id]
            self._leaving.add(request_id)
            self._unseen = [entry for entry in self._unseen if entry[1].id != request_id]
            self._inbox.append(_Cancel(request_id, None))
            self._changed.notify_all()

    def _send(self, message: _Cancel) -> None:
        with self._changed:
            self._inbox.append(message)
            self._changed.notify_all()

    def _wait_until_empty(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._streams, timeout)

    def _main(self) -> None:
        reason = "the engine was stopped"
        try:
            while (messages := self._receive()) is not None:
                for message in messages:
                    self._apply(message)
                self._jobs.advance(self._engine)
                self._hand_over(self._engine.step())
                self._forget_cancelled(messages)
        except BaseException as error:
            _log.exception("the engine thread failed")
            reason = f"the engine failed ({type(error).__name__})"
        finally:
            self._shut(reason)
            self._engine.close()

    def _receive(self) -> list[Request | _Cancel] | None:
        """Wait for something to do; what came in, or None to stop."""
        with self._changed:
            self._idle = not self._is_due()
            self._changed.wait_for(lambda: self._stopping or self._is_due())
            self._progress_ns = self._clock.now_ns()
            self._idle = False
            messages, self._inbox = self._inbox, []
            return None if self._stopping else messages

    def _is_due(self) -> bool:
        return bool(self._inbox or self._jobs) or self._engine.has_work

    def _apply(self, message: Request | _Cancel) -> None:
        if isinstance(message, _Cancel):
            self._engine.cancel(message.request_id, message.index)
            return
        try:
            self._engine.add(message)
        except LegatoError as error:
            self._refuse(message.id, error)
        except Exception as error:
            _log.exception("request %s could not be added", message.id)
            name = type(error).__name__
            self._refuse(message.id, LegatoError(f"the engine failed on this request ({name})"))

    def _refuse(self, request_id: str, error: LegatoError) -> None:
        with self._changed:
            stream = self._streams.pop(request_id, None)
        if stream is not None:
            stream.fail(error)

    def _hand_over(self, events: list[TokenEvent]) -> None:
        """Give a step's events to the loops of their streams, in one call a loop."""
        stats, load = self._engine.stats(), self._engine.load()
        self._on_step(stats)
        batches: dict[asyncio.AbstractEventLoop, Sendings] = {}
        with self._changed:
            # With `_unseen`, so that nobody counts a request twice that was seen or cancelled.
            self._stats, self._load = stats, load
            in_inbox = {message.id for message in self._inbox if isinstance(message, Request)}
            self._unseen = [entry for entry in self._unseen if entry[1].id in in_inbox]
            for event in events:
                stream = self._streams.get(event.request_id)
                if stream is None:
                    continue
                batches.setdefault(stream.loop, []).append((stream, event))
                stream.unsent -= event.finish_reason is not None
                if not stream.unsent:
                    del self._streams[event.request_id]
            self._changed.notify_all()
        for loop, batch in batches.items():
            if not send(loop, batch):
                self._abandon(batch)

    def _forget_cancelled(self, messages: list[Request | _Cancel]) -> None:
        """The last events of these requests are out: their ids are free again."""
        cancelled = {m.request_id for m in messages if isinstance(m, _Cancel)}
        if cancelled:
            with self._changed:
                self._leaving -= cancelled

    def _abandon(self, batch: Sendings) -> None:
        """The loop of these streams is closed: nobody listens any more."""
        for stream, event in batch:
            self._leave(event.request_id, stream)

    def _shut(self, reason: str) -> None:
        with self._changed:
            self._stopping = True
            if self._closed is None:
                self._closed = reason
            streams, self._streams = self._streams, {}
            self._jobs.end(EngineStoppedError(reason))
            self._changed.notify_all()
        for stream in streams.values():
            stream.fail(EngineStoppedError(reason))
