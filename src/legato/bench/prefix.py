"""What a shared prefix saves: time to first token with and without it in the cache, in process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from legato.bench.engine import random_prompts, time_prefill
from legato.clock import Clock
from legato.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixFigures:
    """Medians over `repeats` prefixes of `shared` tokens, each before `own` tokens. In seconds."""

    shared: int
    own: int
    repeats: int
    cold_ttft_s: float
    warm_ttft_s: float

    @property
    def times_shorter(self) -> float:
        """Time to first token without the prefix in the cache, over that with it."""
        return self.cold_ttft_s / self.warm_ttft_s

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**asdict(self), "times_shorter": self.times_shorter}


def measure_prefix(
    engine: Engine, clock: Clock, *, shared: int, own: int, repeats: int
) -> PrefixFigures:
    """Ask with `repeats` prefixes, twice each and alone: first unknown, then cached, with other
    `own` tokens behind it. `engine` must reuse prefixes."""
    prefixes = random_prompts(repeats, shared, engine.vocab_size)
    tails = random_prompts(2 * repeats, own, engine.vocab_size, seed=21)
    time_prefill(engine, clock, [tails[0]])  # touches what the first step touches
    pairs = [
        [time_prefill(engine, clock, [prefix + tail]) for tail in tails[2 * i : 2 * i + 2]]
        for i, prefix in enumerate(prefixes)
    ]
    return _figures(pairs, shared, own)


def _figures(pairs: Sequence[Sequence[float]], shared: int, own: int) -> PrefixFigures:
    return PrefixFigures(
        shared=shared,
        own=own,
        repeats=len(pairs),
        cold_ttft_s=median(cold for cold, _ in pairs),
        warm_ttft_s=median(warm for _, warm in pairs),
    )
