"""The load of `serving.py` on a simulated engine: what scheduling and admission make of it.

    python benchmarks/simulated_load.py [--rates 4.76 5.66 6.5] [--seeds 8] [--seconds 20]
        [--speed 1] [--noise 0.07] [--slow FROM TO TIMES] [--patience 1.1] [--ttft-ms 1000]
        [--tbt-ms 50]

Steps take what the default profile of a machine that is `speed` times as fast says, times a
lognormal error of each step (`noise`) and a slower one that lasts for some twenty steps; from
second FROM to TO they take TIMES times as long, as where others use the machine. Virtual
time: a run is a function of its options and takes a second. Shares are over all seeds together; the
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from legato.assemble import build_model_program
from legato.backends.simulated import SimulatedBackend
from legato.bench.arrivals import poisson
from legato.bench.lengths import Lognormal
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams
from legato.cost.estimate import StepCost
from legato.cost.machine import DEFAULT_PROFILE
from legato.engine import Engine
from legato.errors import OverloadedError
from legato.kvcache.sizing import resolve_sizes
from legato.metrics.fluidity import Deadlines, fluidity
from legato.metrics.report import FLUID_ENOUGH
from legato.metrics.timeline import Timeline
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model
from legato.models.load import load_model
from legato.program.ops import StepShape
from legato.program.program import Program
from legato.scheduler.fair_load import Arrived, rows_before

PROMPT_TOKENS = Lognormal(243, 0.37)  # of about 200 words
OUTPUT_TOKENS = 64
MEMORY_BYTES = 8 << 30
PERSISTENCE = 0.95  # of the slow part of the error, from a step to the next
SLOW_NOISE = 0.03
TOKEN_NS, STEP_NS = 60_000, 500_000  # what a server adds for each token and step
NS = 1e9


class NoisySteps:
    """What steps take on a machine that is not quite what its profile says."""

    def __init__(
        self,
        cost: StepCost,
        noise: float,
        seed: int,
        stretch: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """`stretch` is by how much steps take longer now."""
        self._cost = cost
        self._noise = noise
        self._stretch = stretch
        self._random = np.random.default_rng(seed)
        self._slow = 0.0

    def __call__(self, shape: StepShape) -> int:
        """Nanoseconds of a step."""
        fresh = SLOW_NOISE * math.sqrt(1 - PERSISTENCE**2)
        self._slow = PERSISTENCE * self._slow + fresh * self._random.normal()
        error = math.exp(self._slow + self._noise * self._random.normal())
        ns = self._cost.predict_ns(shape) * error + STEP_NS + TOKEN_NS * shape.outputs
        return round(ns * self._stretch())


@dataclass
class Figures:
    """What a rate met. Times in seconds."""

    rate: float
    requests: int
    fluid: float
    refused: float
    ttft_p50: float | None
    ttft_p99: float | None
    tbt_p99: float | None


def main() -> None:
    """Simulate and print."""
    arguments = parse_arguments()
    config = EngineConfig(
        prefix_cache=False,
        ttft_ms=arguments.ttft_ms,
        tbt_ms=arguments.tbt_ms,
        patience=arguments.patience,
    )
    model = load_model(resolve_model(arguments.model))
    program = build_model_program(model, config)
    sized = resolve_sizes(config, program.kv, model.arch.max_context, MEMORY_BYTES)
    found = []
    for rate in arguments.rates:
        runs = [simulate(program, sized, rate, seed, arguments) for seed in range(arguments.seeds)]
        found.append(figures_of(rate, [timeline for run in runs for timeline in run], sized))
        print(found[-1], flush=True)
    print(json.dumps([asdict(figures) for figures in found]))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rates", type=float, nargs="+", default=[4.76, 5.66, 6.5])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="of arrivals")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--noise", type=float, default=0.07)
    parser.add_argument("--slow", type=float, nargs=3, default=[0.0, 0.0, 1.0])
    parser.add_argument("--patience", type=float, default=1.1)
    parser.add_argument("--ttft-ms", type=float, default=1000.0)
    parser.add_argument("--tbt-ms", type=float, default=50.0)
    return parser.parse_args()


def simulate(
    program: Program, config: EngineConfig, rate: float, seed: int, arguments: argparse.Namespace
) -> list[Timeline]:
    """What came when; refused requests have no tokens."""
    clock = VirtualClock()
    faster = DEFAULT_PROFILE.times_as_fast(arguments.speed)
    since_s, until_s, times = arguments.slow

    def stretch() -> float:
        return times if since_s <= clock.now_ns() / NS < until_s else 1.0

    steps = NoisySteps(StepCost(program, faster), arguments.noise, seed, stretch)
    backend = SimulatedBackend(program.vocab_size, steps, clock)
    engine = Engine(program, backend, config, clock, frozenset(), draw_seed=lambda: 1)
    coming = list(requests(rate, arguments.seconds, seed, clock.now_ns()))
    timelines = {request.id: timeline for request, timeline in coming}
    while coming or engine.has_work:
        if not engine.has_work:
            clock.advance(max(0, coming[0][1].arrival_ns - clock.now_ns()))
        admit(engine, coming, clock.now_ns())
        for event in engine.step():
            timelines[event.request_id].stamp(event.time_ns)
    return list(timelines.values())


def requests(
    rate: float, seconds: float, seed: int, start_ns: int
) -> Iterator[tuple[Request, Timeline]]:
    """What arrives, in order."""
    times, lengths = (np.random.default_rng([seed, stream]) for stream in range(2))
    params = SamplingParams(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
    arrivals = enumerate(poisson(rate).times(times))
    for (number, at_s), length in zip(arrivals, PROMPT_TOKENS.stream(lengths), strict=False):
        if at_s >= seconds:
            return
        came_ns = start_ns + round(at_s * NS)
        request = Request(
            id=f"r{number}", prompt=(number,) * length, params=params, arrived_ns=came_ns
        )
        yield request, Timeline(came_ns, prompt_tokens=length)


def admit(engine: Engine, coming: list[tuple[Request, Timeline]], now_ns: int) -> None:
    """Add those who have come, but for whom the engine refuses, as a server does between steps."""
    load = engine.load()
    unseen: list[Arrived] = []
    while coming and coming[0][1].arrival_ns <= now_ns:
        request, _ = coming.pop(0)
        urgency = engine.urgency(request)
        try:
            engine.check_load(request, load, rows_before(unseen, request, urgency))
        except OverloadedError:
            continue
        unseen.append((urgency, request))
        engine.add(request)


def figures_of(rate: float, timelines: list[Timeline], config: EngineConfig) -> Figures:
    """The figures of all runs at one rate."""
    deadlines = Deadlines(round(config.ttft_ms * 1e6), round(config.tbt_ms * 1e6))
    gaps = [timeline.gaps_ns() for timeline in timelines if timeline.stamps_ns]
    fluid = sum(fluidity(own, deadlines).index >= FLUID_ENOUGH for own in gaps)
    requests = max(1, len(timelines))
    return Figures(
        rate=rate,
        requests=len(timelines),
        fluid=round(fluid / requests, 4),
        refused=round(1 - len(gaps) / requests, 4),
        ttft_p50=percentile_s([own[0] for own in gaps], 50),
        ttft_p99=percentile_s([own[0] for own in gaps], 99),
        tbt_p99=percentile_s([gap for own in gaps for gap in own[1:]], 99),
    )


def percentile_s(durations_ns: list[int], share: float) -> float | None:
    """In seconds; None of nothing."""
    return round(float(np.percentile(durations_ns, share)) / NS, 4) if durations_ns else None


if __name__ == "__main__":
    main()
