"""The unloaded prefill profile of an endpoint: TTFT of one request at a time, by prompt length."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from legato.bench.client import Client
from legato.bench.workload import random_text
from legato.errors import LegatoError
from legato.metrics.latency import NS_PER_SECOND, percentile
from legato.metrics.prefill import PrefillProfile, fit_prefill

WORDS = (16, 64, 128, 256, 512, 1024)
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One unloaded request: prompt tokens by the server's count, seconds to the first token."""

    prompt_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Profiled:
    """A fit and what it was fitted to."""

    profile: PrefillProfile
    samples: list[Sample]

    @property
    def typical_error(self) -> float:
        """Median of |predicted − measured| ÷ measured over the samples."""
        errors = [abs(self.profile.seconds(s.prompt_tokens) / s.seconds - 1) for s in self.samples]
        return percentile(errors, 50)

    def to_json(self) -> dict[str, Any]:
        """`profile` with a, b, c; `typical_error`; `samples`."""
        return {**asdict(self), "typical_error": self.typical_error}


async def profile_prefill(
    client: Client, words: Sequence[int] = WORDS, repeats: int = REPEATS, seed: int = 0
) -> Profiled:
    """Ask for one token after prompts of each length, shuffled, one after the other.

    Raises:
        LegatoError: a request failed, or the endpoint does not tell prompt lengths.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(np.repeat(np.asarray(words), repeats)).tolist()
    await _sample(client, random_text(generator, order[0]))  # connection and caches get warm
    samples = [await _sample(client, random_text(generator, length)) for length in order]
    fitted = fit_prefill([s.prompt_tokens for s in samples], [s.seconds for s in samples])
    return Profiled(fitted, sorted(samples, key=lambda sample: sample.prompt_tokens))


async def _sample(client: Client, prompt: str) -> Sample:
    outcome = await client.ask([{"role": "user", "content": prompt}], max_tokens=1)
    if not outcome.succeeded:
        raise LegatoError(f"a request failed ({outcome.failure}): {outcome.detail}")
    timeline = outcome.timeline
    if not timeline.prompt_tokens:
        raise LegatoError("the endpoint sends no usage, so its prompt lengths are unknown")
    seconds = (timeline.stamps_ns[0] - outcome.sent_ns) / NS_PER_SECOND
    return Sample(timeline.prompt_tokens, seconds)


def run_profile(client: Client, words: Sequence[int], repeats: int, seed: int) -> Profiled:
    """`profile_prefill` from outside an event loop."""

    async def profiled() -> Profiled:
        try:
            return await profile_prefill(client, words, repeats, seed)
        finally:
            client.close()

    return asyncio.run(profiled())
