"""Requests of all speculation workloads arrive at a share of capacity, with and without drafts.

python benchmarks/speculation_load.py [--drafter recall] [--share 0.8] [--requests 60] [--rounds 2]

Capacity is what the engine without drafts gets through when everything is there at once. Arrivals
are a Poisson process, the same for both engines, which take turns; the texts must be equal. A time
between tokens is 0 for the tokens that one step gave together.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import deque
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
Texts = dict[str, list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Times between tokens and of whole requests, and output tokens a second from the first
    arrival to the last token."""

    tbt_p50_ms: float
    tbt_p99_ms: float
    tbt_max_ms: float
    request_p50_s: float
    tokens_per_s: float


def serve(
    engine: Engine, clock: Clock, prompts: list[Prompt], arrivals: list[float], output: int
) -> tuple[Figures, Texts]:
    """Add prompt i `arrivals[i]` seconds after the start, and step until all have ended."""
    params = SamplingParams(temperature=0.0, max_tokens=output)
    waiting = deque(enumerate(arrivals))
    stamps: dict[str, list[int]] = {}
    texts: Texts = {}
    start = clock.now_ns()
    while waiting or engine.has_work:
        while waiting and start + waiting[0][1] * NS_PER_S <= clock.now_ns():
            number, at = waiting.popleft()
            came = start + round(at * NS_PER_S)
            engine.add(
                Request(id=str(number), prompt=prompts[number], params=params, arrived_ns=came)
            )
        if not engine.has_work:
            time.sleep(max(0.0, start / NS_PER_S + waiting[0][1] - clock.now_ns() / NS_PER_S))
        for event in engine.step():
            stamps.setdefault(event.request_id, []).append(event.time_ns)
            if event.token_id is not None:
                texts.setdefault(event.request_id, []).append(event.token_id)
    return figures_of(stamps, start, arrivals), texts


def figures_of(stamps: dict[str, list[int]], start: int, arrivals: list[float]) -> Figures:
    """From the times of all tokens by request."""
    gaps = [b - a for times in stamps.values() for a, b in pairwise(times)]
    whole = [times[-1] - start - arrivals[int(n)] * NS_PER_S for n, times in stamps.items()]
    tokens = sum(map(len, stamps.values()))
    return Figures(
        tbt_p50_ms=median(gaps) / NS_PER_MS,
        tbt_p99_ms=float(np.percentile(gaps, 99)) / NS_PER_MS,
        tbt_max_ms=max(gaps) / NS_PER_MS,
        request_p50_s=median(whole) / NS_PER_S,
        tokens_per_s=tokens * NS_PER_S / (max(map(max, stamps.values())) - start),
    )


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
    begin = clock.now_ns()
    serve(engines["off"], clock, prompts, at_once, chosen.output)
    rate = chosen.share * len(prompts) * NS_PER_S / (clock.now_ns() - begin)
    runs: dict[str, list[Figures]] = {name: [] for name in engines}
    for number in range(chosen.rounds):
        draw = random.Random(number).expovariate
        arrivals = list(accumulate(draw(rate) for _ in prompts))
        texts: list[Texts] = []
        for name, engine in engines.items():
            figures, written = serve(engine, clock, prompts, arrivals, chosen.output)
            runs[name].append(figures)
            texts.append(written)
            print(name, "  ".join(f"{k} {v:.2f}" for k, v in asdict(figures).items()), flush=True)
        assert texts[0] == texts[1], "speculation changed a text"
    medians = {
        name: {key: median(getattr(f, key) for f in all_of) for key in asdict(all_of[0])}
        for name, all_of in runs.items()
    }
    print(json.dumps({"requests_per_s": rate, "share": chosen.share, "medians": medians}))


if __name__ == "__main__":
    main()
