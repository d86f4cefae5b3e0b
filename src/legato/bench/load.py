"""Putting a workload on an endpoint: open loop or closed, with warm-up, until a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile

from legato.bench.arrivals import Users
from legato.bench.client import Client
from legato.bench.endpoint import Message
from legato.bench.outcome import Outcome
from legato.bench.selfcheck import ClientCost, SelfCheck
from legato.bench.workload import Conversation, Workload
from legato.metrics.latency import NS_PER_SECOND

FOREVER = float("inf")
TIMER_NS = 1_200_000  # timers of an event loop wake up to this much late
MADE_AHEAD = 1000  # conversations whose texts are made before the clock runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a run ends: no new conversation after `duration_s` or after `conversations` of them.

    What began before `warmup_s` is marked and left out of the figures.
    """

    duration_s: float = FOREVER
    conversations: float = FOREVER
    warmup_s: float = 0.0


@dataclass(slots=True)
class Run:
    """What happened. `origin_ns` is when it began, `ended_ns` when the last answer was in."""

    origin_ns: int
    ended_ns: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    running: int = 0
    interrupted: bool = False
    cost: ClientCost | None = None

    @property
    def measured(self) -> list[Outcome]:
        """All but the warm-up."""
        return [outcome for outcome in self.outcomes if not outcome.warmup]

    @property
    def window_ns(self) -> int:
        """From the end of the warm-up until the last answer was in, in ns; at least 1."""
        arrivals = [outcome.timeline.arrival_ns for outcome in self.measured]
        warm = any(outcome.warmup for outcome in self.outcomes)
        start = min(arrivals) if warm and arrivals else self.origin_ns
        return max(1, self.ended_ns - start)


class Load:
    """One workload on one client. `run` is up to date all the time, for whoever watches."""

    def __init__(self, client: Client, workload: Workload, limits: Limits) -> None:
        self._client = client
        self._workload = workload
        self._limits = limits
        self._clock = client.clock
        due = self._due()
        self._conversations = chain(list(islice(due, MADE_AHEAD)), due)
        self.run = Run(self._clock.now_ns())

    @property
    def progress(self) -> float:
        """How much of the limits is used up, 0..1."""
        begun = len(self.run.outcomes) + self.run.running
        share = begun / (self._limits.conversations * self._workload.turns)
        return max(share, self._elapsed_s() / self._limits.duration_s)

    async def drive(self) -> Run:
        """Send everything and wait for all answers; a cancellation ends it early with a report."""
        self.run = Run(self._clock.now_ns())
        before = self._client.tokens
        with SelfCheck(self._clock) as check:
            tasks: list[asyncio.Task[None]] = []
            try:
                await self._send(tasks)
                await asyncio.gather(*tasks)
            except asyncio.CancelledError:
                self.run.interrupted = True
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            self.run.cost = check.cost(self._client.tokens - before)
        self.run.ended_ns = self._clock.now_ns()
        return self.run

    async def _send(self, tasks: list[asyncio.Task[None]]) -> None:
        conversations = self._conversations
        arrivals = self._workload.arrivals
        if isinstance(arrivals, Users):
            tasks += [asyncio.create_task(self._user(conversations)) for _ in range(arrivals.count)]
            return
        for conversation in conversations:
            due_ns = self.run.origin_ns + round(conversation.at_s * NS_PER_SECOND)
            await self._sleep_until(due_ns)
            tasks.append(asyncio.create_task(self._converse(conversation, due_ns)))

    def _due(self) -> Iterator[Conversation]:
        limits = self._limits
        return takewhile(
            lambda c: c.at_s < limits.duration_s and c.index < limits.conversations,
            self._workload.conversations(),
        )

    async def _user(self, conversations: Iterator[Conversation]) -> None:
        """One user of a closed loop: the next conversation when the last is over."""
        while self._elapsed_s() < self._limits.duration_s:
            conversation = next(conversations, None)
            if conversation is None or self.run.interrupted:
                return
            await self._converse(conversation, self._clock.now_ns())

    async def _converse(self, conversation: Conversation, due_ns: int) -> None:
        messages: list[Message] = []
        if conversation.shared:
            messages.append({"role": "system", "content": conversation.shared})
        for turn in conversation.turns:
            await self._sleep_until(due_ns)
            messages.append({"role": "user", "content": turn.prompt})
            outcome = await self._ask(messages, turn.output_tokens, due_ns)
            if not outcome.succeeded or self.run.interrupted:
                return
            messages.append({"role": "assistant", "content": outcome.text})
            due_ns = self._clock.now_ns() + round(self._workload.think_s * NS_PER_SECOND)

    async def _ask(self, messages: list[Message], max_tokens: int, due_ns: int) -> Outcome:
        self.run.running += 1
        outcome = await self._client.ask(messages, max_tokens, arrival_ns=due_ns)
        self.run.running -= 1
        warm_ns = self.run.origin_ns + round(self._limits.warmup_s * NS_PER_SECOND)
        outcome.warmup = due_ns < warm_ns
        self.run.outcomes.append(outcome)
        return outcome

    async def _sleep_until(self, time_ns: int) -> None:
        """A thread sleeps the last stretch: it wakes sharper than the event loop's timers."""
        ahead_ns = time_ns - TIMER_NS - self._clock.now_ns()
        if ahead_ns > 0:
            await asyncio.sleep(ahead_ns / NS_PER_SECOND)
        rest_ns = time_ns - self._clock.now_ns()
        if rest_ns > 0:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, time.sleep, rest_ns / NS_PER_SECOND)

    def _elapsed_s(self) -> float:
        return (self._clock.now_ns() - self.run.origin_ns) / NS_PER_SECOND
