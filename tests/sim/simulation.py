"""A seeded life of an engine: arrivals, cancellations, priorities, forks and faults, all at random.

Safety: after every step the blocks add up, every token is the one that its request must get, and
nothing fails but for a fault. Liveness: when arrivals and faults stop, everything ends within a
bounded number of steps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from legato.core import FinishReason, Request, TokenEvent
from legato.errors import CapacityError, InvalidRequestError
from null.fake_backend import make_engine
from sim.faults import InjectedFaultError, Injector
from sim.guesser import Guesser
from sim.wishes import Sample, random_request

WINDOWS = ((None,), (24,), (None, 24, 24), (40, None))
MAX_LIVE = 12
MAX_CALM_STEPS = MAX_LIVE * 4 * (150 + 40)  # one after the other: samples x (output + chunks)
ENDS = {
    FinishReason.STOP: "stopped",
    FinishReason.LENGTH: "out of length",
    FinishReason.CANCELLED: "cancelled",
    FinishReason.ERROR: "failed",
}


@dataclass
class Chances:
    """Probabilities per step of what may happen; drawn once per simulation."""

    arrival: float
    cancel: float
    fault: float
    no_token: float
    scoring: float


def draw_chances(random: Random) -> Chances:
    """Some lives are quiet, some are not."""
    pick = random.choice
    return Chances(
        arrival=pick([0.05, 0.2, 0.6]),
        cancel=pick([0, 0.02, 0.1]),
        fault=pick([0, 0.01, 0.03, 0.1]),
        no_token=pick([0, 0, 0.005]),
        scoring=pick([0, 0.01]),
    )


@dataclass
class Simulation:
    """One engine with one seed. `run` raises AssertionError on any violation."""

    seed: int
    random: Random = field(init=False)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    steps: int = 0
    added: int = 0
    machine_ns: int = 0
    _events: Counter[str] = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)  # of requests, by their seed
    excused: set[str] = field(default_factory=set)  # requests that may fail alone
    cancelled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        pick = self.random.choice
        self.windows = pick(WINDOWS)
        honesty = pick([None, 0.0, 0.6, 0.95])
        self.guesser = None if honesty is None else Guesser(self.windows, self.random, honesty)
        self.engine, self.backend = make_engine(
            self.windows,
            speculator=self.guesser,
            max_context=192,
            num_kv_blocks=len(self.windows) * pick([12, 13, 16, 24]),
            max_batch_tokens=pick([5, 16, 37, 64]),
            max_sequences=pick([1, 3, 6]),
            prefix_cache=self.random.random() < 0.7,
            scheduling=pick(["deadline", "deadline", "throughput"]),
        )
        if self.random.random() < 0.2:  # digests that collide all the time
            self.engine._cache.prefix._hash = self._weak_hash
        self.lengths = pick([(5, 17, 30), (1, 5, 16, 17, 30, 48, 90, 191, 200)])
        self.outputs = pick([(60, 150), (1, 5, 20, 60, 150)])
        self.chances = draw_chances(self.random)
        self.backend.keep_steps = False
        self.calm = False
        self.backend.fault = self._take_time
        self.backend.spoil = self._spoil
        self.injector = Injector(self.engine, self.backend, self.random)

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

    def events(self) -> Counter[str]:
        """How often what happened."""
        injected = {f"{kind} faults": n for kind, n in self.injector.counts.items()}
        stats = self.engine.stats()
        return self._events + Counter(
            preemptions=stats.preemptions,
            copies=self.backend.copies,
            drafted=stats.speculation.drafted,
            accepted=stats.speculation.accepted,
            **injected,
        )

    def story(self) -> dict[str, list[tuple[list[int], FinishReason | None]]]:
        """Tokens and end of every sample of every request."""
        return {name: [(s.tokens, s.ended) for s in group] for name, group in self.samples.items()}

    def _chance(self, probability: float) -> bool:
        return not self.calm and self.random.random() < probability

    def _live(self) -> list[str]:
        return [name for name, group in self.samples.items() if not all(s.ended for s in group)]

    def _disturb(self) -> None:
        live = self._live()
        if self._chance(self.chances.arrival) and len(live) < MAX_LIVE:
            self._arrive()
        if live and self._chance(self.chances.cancel):
            self._cancel(self.random.choice(live))
        if self._chance(self.chances.scoring):
            self._score()

    def _arrive(self) -> None:
        self.added += 1
        name = f"r{self.added}"
        request = random_request(
            self.random, name, self.lengths, self.outputs, lambda where: self._fail_matcher(name)
        )
        try:
            self.engine.add(request)
        except (InvalidRequestError, CapacityError):
            assert len(request.prompt) >= 100, "a short prompt was refused"
            self._events["refused"] += 1
        except InjectedFaultError:
            assert name in self.excused
        else:
            self._expect(request)

    def _expect(self, request: Request) -> None:
        limit = self.engine._limits.pool_context
        self.names[request.params.seed or 0] = request.id
        self.samples[request.id] = [
            Sample(request, index, self.windows, limit) for index in range(request.params.n)
        ]

    def _cancel(self, name: str) -> None:
        """All of a request or one sample; sometimes the accounts fail meanwhile."""
        if self._chance(self.chances.fault):
            self.injector.arm("operation")
        self.engine.cancel(name, self.random.choice([None, 0, len(self.samples[name]) - 1]))
        self.injector.disarm()
        self.cancelled.add(name)

    def _score(self) -> None:
        tokens = [self.random.randrange(90) for _ in range(self.random.randint(1, 20))]
        try:
            assert self.engine.logits(tokens).shape == (len(tokens), self.engine.vocab_size)
        except CapacityError:
            assert self._live(), "no room in an engine without requests"

    def _step(self) -> None:
        self.steps += 1
        faulty = self._chance(self.chances.fault)
        if faulty:
            self.injector.arm("operation", "operation", "backend", "line")
        events = self.engine.step()
        self.injector.disarm()
        self._check_failures(events, faulty and self.injector.fired)
        for event in events:
            if event.outcome is not None:  # all events of a winner come at once
                self.samples[event.request_id][0].index = event.outcome.winner
                self._events["decided"] += 1
        for event in events:
            self._take(event)
        self.engine.check_integrity()

    def _check_failures(self, events: list[TokenEvent], fired: bool) -> None:
        """Who failed must have had a reason; a fault of one request costs no other."""
        failed = {e.request_id for e in events if e.finish_reason is FinishReason.ERROR}
        failed -= self.excused
        if not fired:
            assert not failed, f"{failed} failed without a fault"
        elif not self.injector.whole_step:
            assert len(failed) <= 1, f"{failed} failed of a fault in one request"

    def _take(self, event: TokenEvent) -> None:
        sample = self.samples[event.request_id][event.index]
        assert sample.ended is None, "an event after the end"
        if event.token_id is not None:
            assert (event.token_id, event.finish_reason) == sample.expect()
            sample.tokens.append(event.token_id)
        elif event.finish_reason is FinishReason.CANCELLED:
            assert event.request_id in self.cancelled, "nobody cancelled"
        else:
            assert event.finish_reason is FinishReason.ERROR
        sample.ended = event.finish_reason
        self._count(event, sample)
        self.machine_ns += event.machine_ns

    def _count(self, event: TokenEvent, sample: Sample) -> None:
        if event.cached_tokens:
            self._events["prefix hits"] += 1
            self._check_hit(event, sample)
        self._events["constrained"] += sample.request.constraint is not None
        if event.finish_reason is not None:
            self._events[ENDS[event.finish_reason]] += 1

    def _check_hit(self, event: TokenEvent, sample: Sample) -> None:
        """What is said to be cached was computed for another sample of the same salt."""
        request = sample.request
        prefix = list(request.prompt[: event.cached_tokens])
        others = (s for group in self.samples.values() for s in group if s is not sample)
        assert any(
            s.tokens[: len(prefix)] == prefix and s.request.cache_salt == request.cache_salt
            for s in others
        ), "a hit on another tenant's tokens"

    def _check_end(self) -> None:
        assert not self.engine.has_work, "requests are left when all is calm"
        assert not self._live(), "a request never ended"
        stats = self.engine.stats()
        assert stats.used_blocks == stats.running == stats.waiting == 0
        assert self.machine_ns <= self.engine._clock.now_ns(), "time that no step took"

    def _take_time(self, run: int) -> None:
        self.engine._clock.advance(self.random.randint(1, 2_000_000))

    def _weak_hash(self, parent: bytes, block: bytes) -> bytes:
        self._events["collisions"] += 1
        return bytes([sum(block) % 5])

    def _spoil(self, run: int, row: int) -> bool:
        if not self._chance(self.chances.no_token):
            return False
        self.excused.add(self.names[int(self.backend.sampling.seed[row])])
        self._events["no token"] += 1
        return True

    def _fail_matcher(self, name: str) -> None:
        if self._chance(self.chances.fault):
            self.excused.add(name)
            self._events["matcher faults"] += 1
            raise InjectedFaultError(name)
