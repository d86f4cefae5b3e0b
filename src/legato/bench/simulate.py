"""A workload on a simulated engine: what users would see, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from legato.clock import VirtualClock
from legato.core import Request, SamplingParams, TokenEvent
from legato.engine import Engine
from legato.metrics.latency import Distribution, tbt_ns, ttft_ns
from legato.metrics.timeline import Timeline

NS_PER_SECOND = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Poisson arrivals in an open loop; lengths are uniform, both ends included.

    Attributes:
        rate: requests per second.
        seconds: for how long requests arrive.
        prompt, output: shortest and longest, in tokens.
    """

    rate: float
    seconds: float
    prompt: tuple[int, int] = (16, 256)
    output: tuple[int, int] = (8, 128)
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFigures:
    """What a workload met, in virtual time. Latencies in seconds."""

    requests: int
    output_tokens: int
    steps: int
    preemptions: int
    virtual_s: float
    ttft_s: Distribution | None
    tbt_s: Distribution | None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def arrivals(workload: Workload, vocab_size: int) -> Iterator[tuple[int, Request]]:
    """(arrival in ns, request) in order of arrival; a function of the workload's seed."""
    random = Random(workload.seed)
    now, number = random.expovariate(workload.rate), 0
    while now < workload.seconds:
        length = random.randint(*workload.prompt)
        params = SamplingParams(max_tokens=random.randint(*workload.output), ignore_eos=True)
        prompt = tuple(random.choices(range(vocab_size), k=length))
        yield int(now * NS_PER_SECOND), Request(id=f"r{number}", prompt=prompt, params=params)
        now += random.expovariate(workload.rate)
        number += 1


def simulate(engine: Engine, clock: VirtualClock, workload: Workload) -> SimulatedFigures:
    """Send `workload` to a simulated engine that owns `clock`, until everything has ended."""
    start_ns = clock.now_ns()
    timelines: dict[str, Timeline] = {}
    coming = arrivals(workload, engine.vocab_size)
    following = next(coming, None)
    while following is not None or engine.has_work:
        while following is not None and start_ns + following[0] <= clock.now_ns():
            arrival_ns, request = following
            timelines[request.id] = Timeline(
                start_ns + arrival_ns, prompt_tokens=len(request.prompt)
            )
            engine.add(request)
            following = next(coming, None)
        if engine.has_work:
            _stamp(timelines, engine.step())
        elif following is not None:
            clock.advance(start_ns + following[0] - clock.now_ns())
    return _figures(engine, list(timelines.values()), clock.now_ns() - start_ns)


def _stamp(timelines: dict[str, Timeline], events: list[TokenEvent]) -> None:
    for event in events:
        if event.token_id is not None:
            timelines[event.request_id].stamp(event.time_ns)


def _figures(engine: Engine, timelines: list[Timeline], elapsed_ns: int) -> SimulatedFigures:
    served = [timeline for timeline in timelines if timeline.stamps_ns]
    stats = engine.stats()
    return SimulatedFigures(
        requests=len(timelines),
        output_tokens=sum(timeline.output_tokens for timeline in served),
        steps=stats.steps,
        preemptions=stats.preemptions,
        virtual_s=elapsed_ns / NS_PER_SECOND,
        ttft_s=Distribution.of([ttft_ns(timeline) / NS_PER_SECOND for timeline in served]),
        tbt_s=Distribution.of([gap / NS_PER_SECOND for t in served for gap in tbt_ns(t)]),
    )
