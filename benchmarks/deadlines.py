"""A long prompt arrives while streams run, with and without deadlines, on a real model.

python benchmarks/deadlines.py [--model M] [--tbt-ms 100] [--rounds 3]

Every round runs both policies, so that a drifting machine disturbs both. Throughput is all tokens,
prompts and outputs, over the time from the first request to the last token.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from legato.assemble import build_engine
from legato.bench.engine import random_prompts
from legato.clock import Clock, RealClock
from legato.config import EngineConfig, Scheduling
from legato.core import Objectives, Request, SamplingParams
from legato.engine import Engine
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model
from legato.models.load import load_model

POLICIES: tuple[Scheduling, ...] = ("deadline", "throughput")
NS_PER_MS = 1e6
NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`streams` short prompts that each get `output` tokens, and one of `prompt` tokens."""

    streams: int
    prompt: int
    output: int
    tbt_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Times between the tokens of the streams in ms, TTFT of the long prompt, tokens a second."""

    largest_tbt_ms: float
    p99_tbt_ms: float
    median_tbt_ms: float
    ttft_s: float
    tokens_per_s: float


def measure(engine: Engine, clock: Clock, load: Load, number: int) -> Figures:
    """One run on an idle engine; `number` makes its prompts its own."""
    short, output = 64, load.output
    prompts = random_prompts(load.streams, short, engine.vocab_size, seed=number)
    (long,) = random_prompts(1, load.prompt, engine.vocab_size, seed=1000 + number)
    start = clock.now_ns()
    for index, prompt in enumerate(prompts):
        engine.add(_request(f"stream-{index}", prompt, output, load.tbt_ms))
    stamps: dict[str, list[int]] = {}
    while len(stamps) < load.streams:
        _step(engine, stamps)
    arrival = clock.now_ns()
    engine.add(_request("long", long, 8, load.tbt_ms))
    while engine.has_work:
        _step(engine, stamps)
    end = clock.now_ns()
    ttft = stamps.pop("long")[0] - arrival
    gaps = [after - before for times in stamps.values() for before, after in pairwise(times)]
    tokens = load.streams * (short + output) + load.prompt + 8
    return Figures(
        largest_tbt_ms=max(gaps) / NS_PER_MS,
        p99_tbt_ms=float(np.percentile(gaps, 99)) / NS_PER_MS,
        median_tbt_ms=median(gaps) / NS_PER_MS,
        ttft_s=ttft / NS_PER_S,
        tokens_per_s=tokens * NS_PER_S / (end - start),
    )


def _request(name: str, prompt: tuple[int, ...], output: int, tbt_ms: float) -> Request:
    params = SamplingParams(temperature=0.0, max_tokens=output, ignore_eos=True)
    objectives = Objectives(tbt_ns=round(tbt_ms * NS_PER_MS))
    return Request(id=name, prompt=prompt, params=params, objectives=objectives)


def _step(engine: Engine, stamps: dict[str, list[int]]) -> None:
    for event in engine.step():
        stamps.setdefault(event.request_id, []).append(event.time_ns)


def main() -> None:
    """Measure, print a line for each run and medians, and end with one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--tbt-ms", type=float, default=100.0)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=4000)
    parser.add_argument("--output", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    load = Load(
        streams=chosen.streams, prompt=chosen.prompt, output=chosen.output, tbt_ms=chosen.tbt_ms
    )
    clock, model = RealClock(), load_model(resolve_model(chosen.model))
    engines = {
        policy: build_engine(model, EngineConfig(scheduling=policy, prefix_cache=False), clock)
        for policy in POLICIES
    }
    runs: dict[str, list[Figures]] = {policy: [] for policy in POLICIES}
    for engine in engines.values():
        measure(engine, clock, Load(streams=2, prompt=600, output=20, tbt_ms=load.tbt_ms), 0)
    for number in range(1, chosen.rounds + 1):
        for policy, engine in engines.items():
            figures = measure(engine, clock, load, number)
            runs[policy].append(figures)
            print(policy, "  ".join(f"{k} {v:.1f}" for k, v in asdict(figures).items()), flush=True)
    medians = {
        policy: {key: median(getattr(f, key) for f in all_of) for key in asdict(all_of[0])}
        for policy, all_of in runs.items()
    }
    print(json.dumps({"load": asdict(load), "medians": medians}))


if __name__ == "__main__":
    main()
