"""Putting a workload on an endpoint: open loop or closed, with warm-up, until a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, takewhile

from legato.bench.arrivals import Users
from legato.bench.client import Client
from legato.bench.endpoint import Message
from legato.bench.outcome import FailureKind, Outcome
from legato.bench.run import Limits, Pending, Run
from legato.bench.selfcheck import SelfCheck
from legato.bench.workload import Conversation, Workload
from legato.metrics.latency import NS_PER_SECOND

TIMER_NS = 1_200_000  # timers of an event loop wake up to this much late
MADE_AHEAD = 1000  # conversations whose texts are made before the clock runs


class Load:
    """One workload on one client. `run` is up to date all the time, for whoever watches."""

    def __init__(self, client: Client, workload: Workload, limits: Limits) -> None:
        self._client = client
        self._workload = workload
        self._limits = limits
        self.clock = client.clock
        due = self._due()
        self._conversations = chain(list(islice(due, MADE_AHEAD)), due)
        self._stopped = False
        self._sender: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._worth_keeping: Callable[[Pending], bool] = lambda pending: True
        self.run = Run(self.clock.now_ns())

    @property
    def progress(self) -> float:
        """How much of the limits is used up, 0..1."""
        begun = len(self.run.outcomes) + len(self.run.pending)
        share = begun / (self._limits.conversations * self._workload.turns)
        return max(share, self._elapsed_s() / self._limits.duration_s)

    def stop(self) -> None:
        """Send nothing more; what is under way is still answered."""
        self._stopped = True
        if self._sender is not None:
            self._sender.cancel()

    def drop(self, worth_keeping: Callable[[Pending], bool]) -> None:
        """Stop, and drop what is under way; what is worth keeping counts as unfinished."""
        self._worth_keeping = worth_keeping
        self.stop()
        for task in self._tasks:
            task.cancel()

    async def drive(self) -> Run:
        """Send everything and wait for all answers; a cancellation ends it early with a report."""
        self.run = Run(self.clock.now_ns())
        before = self._client.tokens
        with SelfCheck(self.clock, self._client.stamped_by_kernel) as check:
            try:
                await self._send_and_wait()
            except asyncio.CancelledError:
                self.run.interrupted = True
                self.drop(lambda pending: True)
                await _wait(self._tasks)
            self.run.cost = check.cost(self._client.tokens - before)
        self.run.ended_ns = self.clock.now_ns()
        return self.run

    async def _send_and_wait(self) -> None:
        self._sender = asyncio.create_task(self._send())
        await _wait([self._sender])
        self.run.sending_ns = self.clock.now_ns() - self.run.origin_ns
        await _wait(self._tasks)

    async def _send(self) -> None:
        arrivals = self._workload.arrivals
        if isinstance(arrivals, Users):
            self._tasks += [asyncio.create_task(self._user()) for _ in range(arrivals.count)]
            return
        for conversation in self._conversations:
            due_ns = self.run.origin_ns + round(conversation.at_s * NS_PER_SECOND)
            await self._sleep_until(due_ns)
            self._tasks.append(asyncio.create_task(self._converse(conversation, due_ns)))

    def _due(self) -> Iterator[Conversation]:
        limits = self._limits
        return takewhile(
            lambda c: c.at_s < limits.duration_s and c.index < limits.conversations,
            self._workload.conversations(),
        )

    async def _user(self) -> None:
        """One user of a closed loop: the next conversation when the last is over."""
        while self._elapsed_s() < self._limits.duration_s and not self._stopped:
            conversation = next(self._conversations, None)
            if conversation is None:
                return
            await self._converse(conversation, self.clock.now_ns())

    async def _converse(self, conversation: Conversation, due_ns: int) -> None:
        messages: list[Message] = []
        if conversation.shared:
            messages.append({"role": "system", "content": conversation.shared})
        for turn in conversation.turns:
            await self._sleep_until(due_ns)
            messages.append({"role": "user", "content": turn.prompt})
            outcome = await self._ask(messages, turn.output_tokens, due_ns)
            if not outcome.succeeded or self._stopped:
                return
            messages.append({"role": "assistant", "content": outcome.text})
            due_ns = self.clock.now_ns() + round(self._workload.think_s * NS_PER_SECOND)

    async def _ask(self, messages: list[Message], max_tokens: int, due_ns: int) -> Outcome:
        pending = Pending(due_ns, max_tokens)
        self.run.pending.add(pending)
        outcome = await self._client.ask(messages, max_tokens, arrival_ns=due_ns)
        self.run.pending.discard(pending)
        warm_ns = self.run.origin_ns + round(self._limits.warmup_s * NS_PER_SECOND)
        outcome.warmup = due_ns < warm_ns
        if outcome.failure is FailureKind.UNFINISHED and not self._worth_keeping(pending):
            self.run.cut_off += 1
        else:
            self.run.outcomes.append(outcome)
        return outcome

    async def _sleep_until(self, time_ns: int) -> None:
        """A thread sleeps the last stretch: it wakes sharper than the event loop's timers."""
        ahead_ns = time_ns - TIMER_NS - self.clock.now_ns()
        if ahead_ns > 0:
            await asyncio.sleep(ahead_ns / NS_PER_SECOND)
        rest_ns = time_ns - self.clock.now_ns()
        if rest_ns > 0:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, time.sleep, rest_ns / NS_PER_SECOND)

    def _elapsed_s(self) -> float:
        return (self.clock.now_ns() - self.run.origin_ns) / NS_PER_SECOND


async def _wait(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Until all have ended; what one of them raised is raised, a cancelled one is just over."""
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
