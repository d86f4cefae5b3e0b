"""Speculation on real arithmetic: tokens and log-probabilities are equal to the bit
with and without it, on tiny models and every backend here, and on a real model.
"""

from __future__ import annotations

import pytest

from legato.core import Request, SamplingParams
from legato.llm import LLM
from legato.speculative.make import make_speculator
from legato.speculative.native_book import native_book
from legato.speculative.settings import SpeculationSettings
from model.test_engine_invariance import FAMILIES, backend, bits, generate, make_engine

__all__ = ["backend"]  # a fixture

TEXT = (
    "The committee met on Tuesday. The committee decided that the pier is closed until March. "
    "Repeat: The committee met on Tuesday. The committee"
)


def requests() -> list[Request]:
    """Prompts that repeat themselves, so that copies are proposed; few tokens, so that some are
    right."""
    likely = dict.fromkeys(range(3), 60.0)
    return [
        Request(
            id=f"r{number}",
            prompt=tuple([1, 2, 0, 2, 1, 1, 0][i % 7] for i in range(20 + 9 * number)),
            params=SamplingParams(
                temperature=number % 3 * 0.7,
                frequency_penalty=0.3 * (number % 4 == 1),
                logit_bias=likely,
                seed=number,
                max_tokens=24,
                logprobs=2,
            ),
        )
        for number in range(6)
    ]


@pytest.mark.parametrize("drafter", ["lookup", "suffix", "recall"])
@pytest.mark.parametrize("depth", [0, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_drafts_change_no_bit(family, backend, drafter, depth):
    plain = generate(make_engine(family, backend=backend), requests())
    settings = SpeculationSettings(drafter=drafter, k=depth)
    speculator = make_speculator(settings, make_book=native_book)
    engine = make_engine(family, speculator, backend=backend)
    drafted = generate(engine, requests())
    assert {k: bits(v) for k, v in drafted.items()} == {k: bits(v) for k, v in plain.items()}
    assert engine.stats().speculation.accepted > 0


@pytest.mark.real_model
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_real_model_writes_the_same_text_in_fewer_steps(smollm2_path, temperature):
    params = SamplingParams(temperature=temperature, seed=3, max_tokens=60, logprobs=1)
    results = []
    for speculate in ("off", "suffix"):
        with LLM(smollm2_path, speculate=speculate, num_kv_blocks=64) as llm:
            (result,) = llm.generate([TEXT], params)
            (sample,) = result.outputs
            results.append(((sample.token_ids, sample.logprobs), llm.stats().steps))
    (plain, steps), (drafted, fewer) = results
    assert drafted == plain
    assert fewer <= steps - (temperature == 0)
