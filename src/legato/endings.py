"""Requests that end before they are done: cancelled, or because something failed."""

from __future__ import annotations

import logging
from collections.abc import Sequence as List

from legato.clock import Clock
from legato.core import FinishReason, TokenEvent
from legato.live_requests import LiveRequests, take_out
from legato.questions import Questions
from legato.scheduler.events import end_event
from legato.scheduler.scheduler import Fault, Scheduler
from legato.scheduler.sequence import Sequence

_log = logging.getLogger(__name__)


class Endings:
    """Ends requests and puts their last events into `events`, for the next step to give."""

    def __init__(
        self, scheduler: Scheduler, live: LiveRequests, questions: Questions, clock: Clock
    ) -> None:
        self.events: list[TokenEvent] = []
        self._scheduler = scheduler
        self._live = live
        self._questions = questions
        self._clock = clock

    def cancel(self, request_id: str, index: int | None) -> None:
        """End a request, or one of its samples; as a whole where it decides about them."""
        if request_id in self._questions:
            self._end_question(request_id, FinishReason.CANCELLED)
            return
        for sequence in self._live.of(request_id):
            if index is None or sequence.index == index:
                self._end(sequence, FinishReason.CANCELLED)

    def fail_faulty(self, faults: List[Fault]) -> None:
        """End the requests that the scheduler could not serve, one by one."""
        for sequence, error in faults:
            _log.error("request %s failed", sequence.request.id, exc_info=error)
            self.fail([sequence], error)

    def fail(self, members: List[Sequence], error: Exception) -> None:
        """End the requests of `members`, samples that wait included; trust no account of theirs."""
        message = _failure(error)
        ids = {member.request.id for member in members}
        failed = {s for member in members for s in member.siblings}
        failed.update(s for request_id in ids for s in self._live.of(request_id))
        self._scheduler.drop(failed)
        for request_id in sorted(ids):
            if request_id in self._questions:
                self._end_question(request_id, FinishReason.ERROR, message)
        for sequence in sorted(failed, key=lambda s: s.rank):
            if sequence in self._live.of(sequence.request.id):
                self._end(sequence, FinishReason.ERROR, message)

    def fail_question(self, request_id: str, error: Exception) -> None:
        """End a request whose samples could not be judged."""
        self._end_question(request_id, FinishReason.ERROR, _failure(error))

    def _end(self, sequence: Sequence, reason: FinishReason, error: str | None = None) -> None:
        take_out(sequence, self._scheduler, self._live)
        self.events.append(end_event(sequence, self._clock.now_ns(), reason, error))

    def _end_question(
        self, request_id: str, reason: FinishReason, error: str | None = None
    ) -> None:
        now_ns = self._clock.now_ns()
        self.events.append(self._questions.end(request_id, now_ns, reason, error))


def _failure(error: Exception) -> str:
    return f"the step that computed this request failed ({type(error).__name__})"
