"""Requests that decide as they run how many samples they draw.

A controller (see `core.Controller`) follows the samples of one request; here its turns are carried
out. To the outside such a request has one sample, the winner, whose events come when it is decided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace

from legato.core import (
    Controller,
    FinishReason,
    Outcome,
    Probe,
    Request,
    TokenEvent,
    Turn,
)
from legato.live_requests import LiveRequests, take_out
from legato.probes import probe_sequence
from legato.scheduler.events import end_event
from legato.scheduler.scheduler import Scheduler
from legato.scheduler.sequence import Sequence, another_sample

Unjudged = tuple[str, Exception]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Question:
    """One such request.

    Attributes:
        samples: all that were drawn, in order.
        length_limit: most tokens of a sample, prompt included, in a wave without a limit.
        events: of each sample, as far as it counts.
        probes: what was asked, by the index of its sequence.
        ended_ns: machine time of all sequences that have ended.
        drafted, accepted: tokens that speculation guessed for them, and those that were right.
    """

    request: Request
    controller: Controller
    samples: list[Sequence]
    length_limit: int
    events: dict[int, list[TokenEvent]] = field(default_factory=dict)
    probes: dict[int, Probe] = field(default_factory=dict)
    num_probes: int = 0
    ended_ns: int = 0
    drafted: int = 0
    accepted: int = 0

    def count(self, ended: TokenEvent | Sequence) -> None:
        """Add up what a sequence took that has ended."""
        self.ended_ns += ended.machine_ns
        self.drafted += ended.drafted
        self.accepted += ended.accepted


class Questions:
    """The undecided ones, by id."""

    def __init__(
        self,
        scheduler: Scheduler,
        live: LiveRequests,
        *,
        longest: int,
        free_rows: Callable[[], int],
    ) -> None:
        """A sequence has at most `longest` tokens. `free_rows`: see `core.Compute.start`."""
        self._scheduler = scheduler
        self._live = live
        self._longest = longest
        self._free_rows = free_rows
        self._open: dict[str, _Question] = {}

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._open

    def begin(self, first: Sequence, now_ns: int) -> list[Sequence]:
        """The first wave of the request of which `first` is the first sample; not yet added."""
        request, compute = first.request, first.request.compute
        assert compute is not None
        controller = compute.start(now_ns, first.length_limit - first.num_prompt, self._free_rows())
        if compute.needs_logprobs and request.params.logprobs is None:
            first.request = replace(request, params=replace(request.params, logprobs=0))
        question = _Question(request, controller, first.siblings, first.length_limit)
        turn = controller.turn(now_ns, 0)
        first.length_limit = _limit(question, turn)
        for _ in range(1, turn.draw):
            _draw(question, turn, first.due_ns)
        self._open[request.id] = question
        return list(question.samples)

    def take(
        self,
        events: list[TokenEvent],
        now_ns: int,
        faulty: Set[str],
        outside: list[TokenEvent],
    ) -> list[Unjudged]:
        """Put what of a step's `events` is for the outside into `outside`; the requests whose
        controller failed.

        The turns that the events lead to are carried out, but for requests that are `faulty`.
        """
        if not self._open:
            outside += events
            return []
        outside += [event for event in events if event.request_id not in self._open]
        unjudged: list[Unjudged] = []
        for request_id, own in _by_request(events, self._open.keys() - faulty).items():
            try:
                outside += self._advance(self._open[request_id], own, now_ns)
            except Exception as error:
                _log.exception("the samples of request %s cannot be judged", request_id)
                unjudged.append((request_id, error))
        return unjudged

    def resume(self, request_id: str, now_ns: int) -> list[TokenEvent]:
        """Let a request that holds go on; what there is to tell of it."""
        if request_id not in self._open or self._live.of(request_id):
            return []
        return self._advance(self._open[request_id], [], now_ns)

    def discard(self, request_id: str) -> None:
        """Forget a request that could not be added."""
        self._open.pop(request_id, None)

    def end(
        self, request_id: str, now_ns: int, reason: FinishReason, error: str | None = None
    ) -> TokenEvent:
        """End all that runs of an undecided request; its one and last event."""
        question = self._open.pop(request_id)
        self._close(question)
        return TokenEvent(
            request_id=request_id,
            index=0,
            token_id=None,
            time_ns=now_ns,
            finish_reason=reason,
            error=error,
            machine_ns=question.ended_ns,
            drafted=question.drafted,
            accepted=question.accepted,
        )

    def _advance(
        self, question: _Question, events: list[TokenEvent], now_ns: int
    ) -> list[TokenEvent]:
        for event in events:
            self._take_one(question, event)
        while True:
            turn = question.controller.turn(now_ns, self._machine_ns(question))
            if turn.outcome is not None:
                self._close(question)
                events = _winner_events(question, turn.outcome, now_ns)
                del self._open[question.request.id]
                return events
            self._carry_out(question, turn, now_ns)
            if turn.holds or self._live.of(question.request.id):
                return []
            if not turn.probes:  # those without room are answered already
                raise RuntimeError("a controller neither draws nor decides")

    def _carry_out(self, question: _Question, turn: Turn, now_ns: int) -> None:
        for sequence in self._live.of(question.request.id):
            if sequence.index in turn.end:
                self._stop(question, sequence, now_ns)
        for probe in turn.probes:
            self._ask(question, probe, now_ns)
        for _ in range(turn.draw):
            self._admit(_draw(question, turn, now_ns + question.samples[0].tbt_ns))

    def _take_one(self, question: _Question, event: TokenEvent) -> None:
        if event.finish_reason is not None:
            question.count(event)
        probe = question.probes.pop(event.index, None)
        if probe is not None:
            logprobs = event.logprobs
            question.controller.probed(probe, None if logprobs is None else logprobs.chosen)
            return
        question.events.setdefault(event.index, []).append(event)
        question.controller.take(event)

    def _ask(self, question: _Question, probe: Probe, now_ns: int) -> None:
        """Let a sequence answer `probe`, if there can ever be room for it."""
        sample = question.samples[probe.sample]
        length = sample.num_prompt + probe.num_output + len(probe.suffix)
        if length >= self._longest:
            question.controller.probed(probe, None)
            return
        sequence = probe_sequence(sample, probe, question.num_probes, now_ns)
        question.num_probes += 1
        question.probes[sequence.index] = probe
        self._admit(sequence)

    def _admit(self, sequence: Sequence) -> None:
        self._live.join(sequence)
        self._scheduler.add(sequence)

    def _stop(self, question: _Question, sequence: Sequence, now_ns: int) -> None:
        """End a sample that the controller gave up, and tell it what it took."""
        take_out(sequence, self._scheduler, self._live)
        question.count(sequence)
        question.controller.take(end_event(sequence, now_ns, FinishReason.CANCELLED))

    def _machine_ns(self, question: _Question) -> int:
        running = sum(s.machine_ns for s in self._live.of(question.request.id))
        return question.ended_ns + running

    def _close(self, question: _Question) -> None:
        """End all that runs of it and release its prompt."""
        for sequence in self._live.of(question.request.id):
            question.count(sequence)
            take_out(sequence, self._scheduler, self._live)
        try:
            self._scheduler.kept.release(question.request.id)
        except Exception:
            _log.exception("the prompt of request %s could not be freed", question.request.id)
            self._scheduler.drop([])


def _by_request(events: list[TokenEvent], ids: Set[str]) -> dict[str, list[TokenEvent]]:
    """The events of each request in `ids`."""
    groups: dict[str, list[TokenEvent]] = {}
    for event in events:
        if event.request_id in ids:
            groups.setdefault(event.request_id, []).append(event)
    return groups


def _draw(question: _Question, turn: Turn, due_ns: int) -> Sequence:
    limit = _limit(question, turn)
    return another_sample(question.samples[0], due_ns=due_ns, length_limit=limit)


def _limit(question: _Question, turn: Turn) -> int:
    """Most tokens of a sample of this wave, its prompt included."""
    if turn.max_tokens is None:
        return question.length_limit
    return min(question.length_limit, len(question.request.prompt) + turn.max_tokens)


def _winner_events(question: _Question, outcome: Outcome, now_ns: int) -> list[TokenEvent]:
    """The events of the winner, as those of the only sample of its request.

    One that was stopped short of its end (a budget is spent, a stop string came) ends with LENGTH.
    """
    request, first = question.request, question.samples[0]
    won = question.events.get(outcome.winner)
    if not won:
        won = [end_event(first, now_ns, FinishReason.LENGTH)]
    wants_logprobs = request.params.logprobs is not None
    events = [
        replace(event, index=0, logprobs=event.logprobs if wants_logprobs else None)
        for event in won
    ]
    events[0].cached_tokens = first.cached_tokens or 0
    events[0].started_ns = first.started_ns
    last = events[-1]
    last.finish_reason = last.finish_reason or FinishReason.LENGTH
    last.drafted, last.accepted = question.drafted, question.accepted
    last.machine_ns = question.ended_ns
    last.outcome = replace(outcome, machine_ns=question.ended_ns)
    return events
