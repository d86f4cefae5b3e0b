"""One call's answer as it grows: token events in, pieces of text with their choice out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from legato.completion import LogprobEntry, SampleText
from legato.core import FinishReason, Outcome, Request, TokenEvent
from legato.metrics.timeline import Timeline
from legato.server.errors import ApiError, internal_error, unavailable
from legato.server.pacer import paced
from legato.server.service import Service


@dataclass(slots=True)
class Piece:
    """What one event added to one choice. `first` marks the choice's first piece.

    Nobody changes a piece; it is not frozen because every token makes one.
    """

    choice: int
    text: str
    logprobs: tuple[LogprobEntry, ...]
    finish_reason: FinishReason | None
    first: bool


@dataclass(slots=True)
class Sample:
    """One choice as it grows.

    Attributes:
        steps_ns: when the step of each token ended.
        drafted, accepted: see `TokenEvent`.
    """

    text: SampleText
    timeline: Timeline
    steps_ns: list[int] = field(default_factory=list)
    started: bool = False
    drafted: int = 0
    accepted: int = 0
    finish_reason: FinishReason | None = None

    @property
    def finished(self) -> bool:
        """Whether its last piece is out."""
        return self.finish_reason is not None


@dataclass(slots=True)
class Generation:
    """The samples of one or several requests that together answer one HTTP call.

    Choice c is sample c mod n of request c div n. What is known afterwards: the timelines, how
    many prompt tokens came from the prefix cache, when the engine began (`started_ns`), the machine
    time of all samples (`machine_ns`), and what became of a question that decided itself how many
    there are (`outcome`). Tokens of a choice are delivered at least `pace_ns` apart.
    """

    service: Service
    requests: Sequence[Request]
    arrival_ns: int
    pace_ns: int = 0
    samples: list[Sample] = field(init=False)
    machine_ns: int = field(init=False, default=0)
    _open: int = field(init=False)
    _leaving: list[Timeline] = field(init=False, default_factory=list)
    _unpriced: int = field(init=False)
    _cached: list[int] = field(init=False)
    started_ns: int | None = field(init=False, default=None)
    outcome: Outcome | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._cached = [0] * len(self.requests)
        self.samples = [
            Sample(
                SampleText(self.service.tokenizer, request.params),
                Timeline(self.arrival_ns, prompt_tokens=len(request.prompt)),
            )
            for request in self.requests
            for _ in range(request.params.n)
        ]
        self._open = len(self.samples)
        waits = self.service.price is not None or self.requests[0].compute is not None
        self._unpriced = len(self.samples) if waits else 0

    @property
    def finished(self) -> bool:
        """Whether every choice has ended."""
        return self._open == 0

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts; a prompt counts once, however many samples it has."""
        return sum(len(request.prompt) for request in self.requests)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that came from the prefix cache."""
        return sum(self._cached)

    @property
    def output_tokens(self) -> int:
        """Tokens generated for it: of all samples, also of those that were not chosen."""
        if self.outcome is not None:
            return self.outcome.tokens
        return sum(len(sample.steps_ns) for sample in self.samples)

    @property
    def drafted(self) -> int:
        """Tokens that speculation guessed for it."""
        return sum(sample.drafted for sample in self.samples)

    @property
    def accepted(self) -> int:
        """Those of them that were right."""
        return sum(sample.accepted for sample in self.samples)

    @property
    def timelines(self) -> list[Timeline]:
        """One timeline per choice."""
        return [sample.timeline for sample in self.samples]

    @property
    def prompt_text(self) -> str:
        """The first prompt as text."""
        return self.service.tokenizer.decode(self.requests[0].prompt, skip_special_tokens=False)

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """Of the choices that have ended."""
        reasons = (sample.finish_reason for sample in self.samples)
        return tuple(reason.value for reason in reasons if reason is not None)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece. Closing it cancels whatever still runs.

        A token counts as delivered when `delivered` is called, and at the latest when the piece
        after its own is asked for; those of the last piece just before it, which may carry all
        these times.

        Raises:
            ApiError: a sample failed, or was cancelled by the server.
            LegatoError: what the source raised instead of a first event.
        """
        if self.requests[0].params.max_tokens == 0:
            for choice in range(len(self.samples)):
                self._open -= 1
                yield Piece(choice, "", (), FinishReason.LENGTH, True)
            return
        last: Piece | None = None
        try:
            async with aclosing(self._events()) as events:
                async for which, event in events:
                    piece = self._take(which, event)
                    if self.finished:
                        last = piece or last
                        if self._unpriced <= 0:
                            break
                    elif piece is not None:
                        yield piece
                        self.delivered()
        finally:
            self.delivered()
        if last is None:
            raise internal_error()
        yield last

    def _events(self) -> AsyncGenerator[tuple[int, TokenEvent], None]:
        """Events with the number of their request."""
        if len(self.requests) == 1:
            events = _single(self.service, self.requests[0])
        else:
            events = _merged(self.service, self.requests)
        return paced(events, self.service.clock, self.pace_ns) if self.pace_ns else events

    def _take(self, which: int, event: TokenEvent) -> Piece | None:
        choice = which * self.requests[which].params.n + event.index
        sample = self.samples[choice]
        if event.drafted:
            sample.drafted, sample.accepted = event.drafted, event.accepted
        if event.finish_reason is not None:
            self.machine_ns += event.machine_ns
            self.outcome = event.outcome or self.outcome
            self._unpriced -= 1
        if sample.finished:
            return None
        if event.finish_reason is not None:
            _raise_failure(event)
        first, sample.started = not sample.started, True
        if first:
            self._begin(which, event)
        if event.token_id is not None:
            self._leaving.append(sample.timeline)
            sample.steps_ns.append(event.time_ns)
        delta = sample.text.push(event)
        sample.finish_reason = reason = delta.finish_reason
        if reason is not None:
            self._open -= 1
            self._cancel_rest(which, event)
        if not (first or delta.text or delta.logprobs or reason is not None):
            return None
        return Piece(choice, delta.text, delta.logprobs, reason, first)

    def delivered(self) -> None:
        """The tokens of the pieces so far leave now, if they have not left before."""
        if not self._leaving:
            return
        now_ns = self.service.clock.now_ns()
        for timeline in self._leaving:
            timeline.stamp(now_ns)
        self._leaving.clear()

    def _begin(self, which: int, event: TokenEvent) -> None:
        """The first event of a sample tells what its prompt found."""
        self._cached[which] = max(self._cached[which], event.cached_tokens)
        if self.started_ns is None:
            self.started_ns = event.started_ns

    def _cancel_rest(self, which: int, event: TokenEvent) -> None:
        """A stop string ended the text; the engine does not know it. Its siblings run on, or its
        price is still to come, with its last event."""
        if event.finish_reason is None and (self._open or self._unpriced > 0):
            self.service.source.cancel(self.requests[which].id, event.index)


def _raise_failure(event: TokenEvent) -> None:
    if event.finish_reason is FinishReason.ERROR:
        raise ApiError(500, event.error or "generation failed", code="generation_failed")
    if event.finish_reason is FinishReason.CANCELLED:
        raise unavailable("the server ended this answer early", "cancelled")


async def _single(
    service: Service, request: Request
) -> AsyncGenerator[tuple[int, TokenEvent], None]:
    events = service.source.generate(request)
    try:
        async for event in events:
            yield 0, event
    finally:
        await _close(events)


async def _close(events: AsyncIterator[TokenEvent]) -> None:
    """Close the source's own generator, at once."""
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


async def _merged(
    service: Service, requests: Sequence[Request]
) -> AsyncGenerator[tuple[int, TokenEvent], None]:
    """The events of several requests in order of arrival. The first error ends them all."""
    queue: asyncio.Queue[tuple[int, TokenEvent] | Exception | None] = asyncio.Queue()

    async def pump(which: int, request: Request) -> None:
        try:
            async with aclosing(_single(service, request)) as events:
                async for _, event in events:
                    queue.put_nowait((which, event))
            queue.put_nowait(None)
        except Exception as error:
            queue.put_nowait(error)

    tasks = [asyncio.create_task(pump(*numbered)) for numbered in enumerate(requests)]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
