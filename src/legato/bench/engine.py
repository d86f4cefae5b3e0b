"""The engine measured in process: random token ids, greedy, no prefix cache, no HTTP.

Prefill and decode are timed apart. Prefill: all prompts at once, one token each. Decode: once every
sequence has its first token, a fixed number of steps in which all of them take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from legato.clock import Clock
from legato.core import Request, SamplingParams
from legato.engine import Engine

NS_PER_SECOND = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """One concurrency: rates in tokens per second over all sequences, times in seconds."""

    concurrency: int
    prompt: int
    output: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    prefill_s: float
    decode_step_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def random_prompts(
    count: int, length: int, vocab_size: int, seed: int = 20
) -> list[tuple[int, ...]]:
    """`count` prompts of uniformly random token ids; the same for the same seed."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, vocab_size, (count, length))
    return [tuple(row) for row in ids.tolist()]


def measure_engine(
    engine: Engine, clock: Clock, prompts: Sequence[tuple[int, ...]], output: int
) -> EngineFigures:
    """Time the prefill of all `prompts`, then `output` decode steps of all of them."""
    prefill_s = time_prefill(engine, clock, prompts)
    decode_s = time_decode(engine, clock, prompts, output)
    return EngineFigures(
        concurrency=len(prompts),
        prompt=len(prompts[0]),
        output=output,
        prefill_tokens_per_s=sum(map(len, prompts)) / prefill_s,
        decode_tokens_per_s=len(prompts) * output / decode_s,
        prefill_s=prefill_s,
        decode_step_s=decode_s / output,
    )


def time_prefill(engine: Engine, clock: Clock, prompts: Sequence[tuple[int, ...]]) -> float:
    """Seconds from the arrival of all prompts until each has its first token."""
    start = clock.now_ns()
    add_all(engine, prompts, max_tokens=1)
    while engine.has_work:
        engine.step()
    return (clock.now_ns() - start) / NS_PER_SECOND


def time_decode(
    engine: Engine, clock: Clock, prompts: Sequence[tuple[int, ...]], steps: int
) -> float:
    """Seconds of `steps` steps in which every sequence decodes and none prefills."""
    waiting = add_all(engine, prompts, max_tokens=None)
    everyone = list(waiting)
    while waiting:
        waiting -= {event.request_id for event in engine.step()}
    start = clock.now_ns()
    for _ in range(steps):
        engine.step()
    elapsed = clock.now_ns() - start
    for request_id in everyone:
        engine.cancel(request_id)
    while engine.has_work:
        engine.step()
    return elapsed / NS_PER_SECOND


def add_all(engine: Engine, prompts: Sequence[tuple[int, ...]], max_tokens: int | None) -> set[str]:
    """Submit every prompt; returns the request ids."""
    params = SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
    requests = [
        Request(id=f"bench-{number}", prompt=prompt, params=params)
        for number, prompt in enumerate(prompts)
    ]
    for request in requests:
        engine.add(request)
    return {request.id for request in requests}
