"""Requests of all speculation workloads arrive at a share of capacity, with and without drafts.

python benchmarks/speculation_load.py [--drafter recall] [--share 0.8] [--requests 60] [--rounds 2]

Capacity is what the engine without drafts gets through when everything is there at once. Arrivals
are a Poisson process, the same for both engines, which take turns; the texts must be equal. A time
between tokens is 0 for the tokens that one step gave together.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain, cycle, islice, pairwise
from pathlib import Path
from statistics import median

import numpy as np

from legato.assemble import build_engine
from legato.bench.speculate import load_workloads
from legato.clock import Clock, RealClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams
from legato.engine import Engine
from legato.llm import LLM
from legato.models.hub import resolve_model
from legato.models.load import load_model

NS_PER_MS = 1e6
NS_PER_S = 1e9
Prompt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """What came of a load.

    Attributes:
        gaps_ns: times between two tokens of one answer, of all.
        whole_ns: from the arrival of each request to its last token.
        seconds: from the start to the last token.
        texts: the answer of each request.
    """

    gaps_ns: list[int]
    whole_ns: list[float]
    seconds: float
    texts: dict[str, list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Times between tokens and of whole requests, and output tokens a second from the start to the
    last token."""

    tbt_p50_ms: float
    tbt_p99_ms: float
    tbt_max_ms: float
    request_p50_s: float
    tokens_per_s: float


def serve(
    engine: Engine,
    clock: Clock,
    prompts: list[Prompt],
    arrivals: list[float],
    output: int,
    wait_ns: Callable[[int], None] = lambda ns: time.sleep(ns / NS_PER_S),
) -> Served:
    """Add prompt i with seed i `arrivals[i]` seconds after the start, and step until all have
    ended. `wait_ns` lets time pass where there is nothing to do."""
    waiting = deque(enumerate(arrivals))
    stamps: dict[str, list[int]] = {}
    texts: dict[str, list[int]] = {}
    start = clock.now_ns()
    while waiting or engine.has_work:
        while waiting and start + waiting[0][1] * NS_PER_S <= clock.now_ns():
            number, at = waiting.popleft()
            came = start + round(at * NS_PER_S)
            params = SamplingParams(temperature=0.0, max_tokens=output, seed=number)
            engine.add(
                Request(id=str(number), prompt=prompts[number], params=params, arrived_ns=came)
            )
        if not engine.has_work:
            wait_ns(max(0, math.ceil(start + waiting[0][1] * NS_PER_S) - clock.now_ns()))
        for event in engine.step():
            stamps.setdefault(event.request_id, []).append(event.time_ns)
            if event.token_id is not None:
                texts.setdefault(event.request_id, []).append(event.token_id)
    gaps = [b - a for times in stamps.values() for a, b in pairwise(times)]
    whole = [times[-1] - start - arrivals[int(n)] * NS_PER_S for n, times in stamps.items()]
    return Served(gaps, whole, (max(map(max, stamps.values())) - start) / NS_PER_S, texts)


def figures_of(runs: Sequence[Served]) -> Figures:
    """Figures of all runs together."""
    gaps = [gap for run in runs for gap in run.gaps_ns]
    tokens = sum(len(text) for run in runs for text in run.texts.values())
    return Figures(
        tbt_p50_ms=median(gaps) / NS_PER_MS,
        tbt_p99_ms=float(np.percentile(gaps, 99)) / NS_PER_MS,
        tbt_max_ms=max(gaps) / NS_PER_MS,
        request_p50_s=median(whole for run in runs for whole in run.whole_ns) / NS_PER_S,
        tokens_per_s=tokens / sum(run.seconds for run in runs),
    )


def arrivals_at(rate: float, count: int, seed: int) -> list[float]:
    """When `count` requests come, in seconds: a Poisson process of `rate` a second."""
    draw = random.Random(seed).expovariate
    return list(accumulate(draw(rate) for _ in range(count)))


def encoded_prompts(path: Path, count: int) -> list[Prompt]:
    """`count` conversations of all workloads, in a fixed random order."""
    conversations = list(chain.from_iterable(w.conversations for w in load_workloads()))
    random.Random(1).shuffle(conversations)
    with LLM.from_config(path, EngineConfig(num_kv_blocks=64)) as llm:
        return [tuple(llm.encode_chat(c)) for c in islice(cycle(conversations), count)]


def main() -> None:
    """Measure, print a line for each run, and end with one JSON document of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--drafter", default="recall")
    parser.add_argument("--share", type=float, default=0.8)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    path, clock = resolve_model(chosen.model), RealClock()
    prompts, model = encoded_prompts(path, chosen.requests), load_model(path)
    engines = {
        name: build_engine(model, EngineConfig(speculate=name), clock)
        for name in ("off", chosen.drafter)
    }
    at_once = [0.0] * len(prompts)
    for engine in engines.values():
        serve(engine, clock, prompts, at_once, chosen.output)  # fills the prefix cache
    capacity = len(prompts) / serve(engines["off"], clock, prompts, at_once, chosen.output).seconds
    runs: dict[str, list[Served]] = {name: [] for name in engines}
    for number in range(chosen.rounds):
        arrivals = arrivals_at(chosen.share * capacity, len(prompts), number)
        for name, engine in engines.items():
            runs[name].append(serve(engine, clock, prompts, arrivals, chosen.output))
            print_figures(name, figures_of(runs[name][-1:]))
        plain, drafted = (of[-1].texts for of in runs.values())
        assert plain == drafted, "speculation changed a text"
    found = {name: asdict(figures_of(of)) for name, of in runs.items()}
    print(json.dumps({"requests_per_s": chosen.share * capacity, "all_rounds": found}))


def print_figures(name: str, figures: Figures) -> None:
    """One line."""
    print(f"{name:12}", "  ".join(f"{k} {v:.2f}" for k, v in asdict(figures).items()), flush=True)


if __name__ == "__main__":
    main()
