"""A seeded life of an engine: arrivals, cancellations, priorities, forks and faults, all at random.

Safety: after every step the blocks add up and every token is the one that its request must get.
Liveness: when arrivals and faults stop, everything ends within a bounded number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from legato.core import FinishReason, Request, TokenEvent
from legato.errors import BackendError, CapacityError, InvalidRequestError
from null.fake_backend import make_engine, make_request, next_token

WINDOWS = ((None,), (24,), (None, 24, 24), (40, None))
MAX_LIVE = 12
MAX_CALM_STEPS = MAX_LIVE * 4 * (150 + 40)  # one after the other: samples x (output + chunks)


class InjectedFaultError(BackendError):
    """A fault that the simulation asked for."""


@dataclass
class Chances:
    """Probabilities per step of what may happen; drawn once per simulation."""

    arrival: float
    cancel: float
    fault: float
    no_token: float


@dataclass
class Sample:
    """What one sample has given so far."""

    tokens: list[int]
    ended: FinishReason | None = None


@dataclass
class Simulation:
    """One engine with one seed. `run` raises AssertionError on any violation."""

    seed: int
    random: Random = field(init=False)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    steps: int = 0
    injected: int = 0
    added: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        pick = self.random.choice
        self.windows = pick(WINDOWS)
        self.engine, self.backend = make_engine(
            self.windows,
            max_context=192,
            num_kv_blocks=len(self.windows) * pick([12, 13, 16, 24]),
            max_batch_tokens=pick([5, 16, 37, 64]),
            max_sequences=pick([1, 3, 6]),
            prefix_cache=self.random.random() < 0.7,
        )
        self.lengths = pick([(5, 17, 30), (1, 5, 16, 17, 30, 48, 90, 191, 200)])
        self.outputs = pick([(60, 150), (1, 5, 20, 60, 150)])
        self.chances = Chances(
            arrival=pick([0.05, 0.2, 0.6]),
            cancel=pick([0, 0.02, 0.1]),
            fault=pick([0, 0, 0.01, 0.05]),
            no_token=pick([0, 0, 0.005]),
        )
        self.backend.keep_steps = False
        self.calm = False
        self.backend.fault = self._maybe_fail
        self.backend.spoil = self._maybe_spoil

    def run(self, num_steps: int) -> None:
        """`num_steps` of turmoil, then calm until nothing is left."""
        for _ in range(num_steps):
            self._disturb()
            self._step()
        self.calm = True
        for _ in range(MAX_CALM_STEPS):
            if not self.engine.has_work:
                break
            self._step()
        self._check_end()

    def _disturb(self) -> None:
        if self.random.random() < self.chances.arrival and len(self.requests) < MAX_LIVE:
            self._arrive()
        if self.requests and self.random.random() < self.chances.cancel:
            name = self.random.choice(list(self.requests))
            index = self.random.choice([None, 0])
            self.engine.cancel(name, index)

    def _arrive(self) -> None:
        self.added += 1
        random = self.random
        request = make_request(
            f"r{self.added}",
            random.choice(self.lengths),
            start=random.randint(0, 3),
            priority=random.choice([0, 0, 0, 1, -1]),
            salt=random.choice(["", "", "tenant"]),
            n=random.choice([1, 1, 1, 2, 4]),
            max_tokens=random.choice(self.outputs),
            temperature=1.0,
            seed=random.getrandbits(64),
        )
        try:
            self.engine.add(request)
        except (InvalidRequestError, CapacityError):
            assert len(request.prompt) >= 100, "a short prompt was refused"
            return
        self.requests[request.id] = request
        self.samples[request.id] = [Sample(list(request.prompt)) for _ in range(request.params.n)]

    def _step(self) -> None:
        self.steps += 1
        for event in self.engine.step():
            self._take(event)
        self.engine.check_integrity()
        assert self.engine.stats().failed_steps == self.injected, "a step failed by itself"

    def _take(self, event: TokenEvent) -> None:
        request = self.requests[event.request_id]
        sample = self.samples[event.request_id][event.index]
        assert sample.ended is None, "an event after the end"
        if event.token_id is not None:
            seed = request.params.seed
            assert event.token_id == next_token(sample.tokens, self.windows, seed, event.index)
            sample.tokens.append(event.token_id)
        sample.ended = event.finish_reason
        if all(s.ended for s in self.samples[request.id]):
            del self.requests[request.id]

    def _check_end(self) -> None:
        assert not self.engine.has_work, "requests are left when all is calm"
        assert not self.requests
        stats = self.engine.stats()
        assert stats.used_blocks == stats.running == stats.waiting == 0

    def _maybe_fail(self, run: int) -> None:
        if not self.calm and self.random.random() < self.chances.fault:
            self.injected += 1
            raise InjectedFaultError(f"run {run}")

    def _maybe_spoil(self, run: int, row: int) -> bool:
        return not self.calm and self.random.random() < self.chances.no_token
