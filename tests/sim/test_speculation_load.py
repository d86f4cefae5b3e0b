"""Drafts under load, in virtual time: with several streams and prompts that come, the longest times
between tokens get no longer for them, and all is done sooner.

The texts repeat their prompts, with some tokens of their own between.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np
import pytest

from legato.backends.base import StepInput, StepOutput
from legato.backends.simulated import SimulatedBackend
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams
from legato.cost.estimate import StepCost
from legato.cost.machine import DEFAULT_PROFILE
from legato.engine import Engine
from legato.program.program import Program
from legato.speculative.book import ReferenceBook
from legato.speculative.speculator import BatchSpeculator
from legato.speculative.suffix import SuffixDraft, SuffixDrafter
from sim.hollow import hollow_program

REQUESTS, PROMPT, OUTPUT = 40, 60, 48
SEEDS = range(10)


@pytest.fixture(scope="module")
def program() -> Program:
    return hollow_program()


def make_text(number: int) -> list[int]:
    """A prompt, and an answer of passages of it with new tokens between."""
    draw = random.Random(number)
    text = [draw.randrange(40_000) for _ in range(PROMPT)]
    while len(text) < PROMPT + OUTPUT:
        start = draw.randrange(PROMPT - 30)
        text += text[start : start + 20]
        text += [draw.randrange(40_000) for _ in range(3)]
    return text[: PROMPT + OUTPUT]


def make_misleading(number: int) -> list[int]:
    """A text in which every pair has a new follower, so that what is copied is always wrong."""
    draw = random.Random(number)
    pairs = [[draw.randrange(40_000), draw.randrange(40_000)] for _ in range(4)]
    text: list[int] = []
    while len(text) < PROMPT + OUTPUT:
        text += [*draw.choice(pairs), draw.randrange(40_000)]
    return text[: PROMPT + OUTPUT]


TEXTS = [make_text(number) for number in range(REQUESTS)]
MISLEADING = [make_misleading(number) for number in range(REQUESTS)]


class KnownBackend(SimulatedBackend):
    """Chooses what the text with the number of its seed has at each position."""

    texts = TEXTS

    def run(self, step: StepInput) -> StepOutput:
        output = super().run(step)
        if step.sampling is None:
            return output
        places = zip(step.sampling.seed.tolist(), step.sampling.position.tolist(), strict=True)
        return replace(output, token_ids=np.array([self.texts[s][p] for s, p in places], np.int32))


@dataclass
class Met:
    """What a load met: nanoseconds between tokens, and from the start to the last one."""

    gaps: list[int]
    whole_ns: int
    engine: Engine


def serve(
    program: Program, drafts: bool, arrivals: Sequence[int], texts: list[list[int]] = TEXTS
) -> Met:
    """Requests that come at `arrivals`; prompts are cached but for their last block."""
    clock = VirtualClock()
    config = EngineConfig(num_kv_blocks=4000)
    backend = KnownBackend(program.vocab_size, StepCost(program, DEFAULT_PROFILE).predict_ns, clock)
    backend.texts = texts
    speculator = BatchSpeculator(ReferenceBook(SuffixDrafter())) if drafts else None
    engine = Engine(program, backend, config, clock, frozenset(), speculator=speculator)
    run(engine, clock, [0] * REQUESTS, texts)
    start_ns = clock.now_ns()
    stamps = run(engine, clock, [start_ns + at for at in arrivals], texts)
    gaps = [b - a for times in stamps.values() for a, b in pairwise(times)]
    return Met(gaps, max(times[-1] for times in stamps.values()) - start_ns, engine)


def run(
    engine: Engine,
    clock: VirtualClock,
    arrivals: Sequence[int],
    texts: list[list[int]] = TEXTS,
) -> dict[str, list[int]]:
    """When the tokens of each request came."""
    stamps: dict[str, list[int]] = {str(number): [] for number in range(len(arrivals))}
    coming = list(enumerate(arrivals))
    while coming or engine.has_work:
        if not engine.has_work:
            clock.advance(max(0, coming[0][1] - clock.now_ns()))
        while coming and coming[0][1] <= clock.now_ns():
            number, at_ns = coming.pop(0)
            params = SamplingParams(max_tokens=OUTPUT, seed=number)
            prompt = tuple(texts[number][:PROMPT])
            engine.add(Request(id=str(number), prompt=prompt, params=params, arrived_ns=at_ns))
        for event in engine.step():
            stamps[event.request_id].append(event.time_ns)
    return stamps


def arrivals_at(gap_ns: float, seed: int) -> list[int]:
    draw = random.Random(seed).expovariate
    return [round(at) for at in accumulate(draw(1 / gap_ns) for _ in range(REQUESTS))]


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_under_load_the_tail_between_tokens_is_no_longer_and_tokens_come_sooner(program, share):
    capacity_ns = serve(program, False, [0] * REQUESTS).whole_ns / REQUESTS
    loads = [arrivals_at(capacity_ns / share, seed) for seed in SEEDS]
    plain, drafted = ([serve(program, d, load) for load in loads] for d in (False, True))

    def p99(runs: list[Met]) -> float:
        return float(np.percentile([gap for one in runs for gap in one.gaps], 99))

    assert sum(one.engine.stats().speculation.accepted for one in drafted) > 1000
    assert p99(drafted) <= p99(plain)
    assert sum(one.whole_ns for one in drafted) < sum(one.whole_ns for one in plain)


@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize(("texts", "least"), [(TEXTS, 1.0), (MISLEADING, 0.98)])
def test_no_batch_is_slower_for_drafts_however_wrong_they_are(program, batch, texts, least):
    plain, drafted = (serve(program, drafts, [0] * batch, texts) for drafts in (False, True))
    assert plain.whole_ns / drafted.whole_ns >= least
    if batch == 1 and texts is TEXTS:
        assert plain.whole_ns / drafted.whole_ns > 1.5


def test_a_full_batch_in_which_no_draft_can_pay_is_not_told_of_texts(program):
    class Counting(SuffixDrafter):
        opened = 0

        def open(self, tenant: str) -> SuffixDraft:
            Counting.opened += 1
            return super().open(tenant)

    clock = VirtualClock()
    backend = KnownBackend(program.vocab_size, StepCost(program, DEFAULT_PROFILE).predict_ns, clock)
    engine = Engine(
        program,
        backend,
        EngineConfig(num_kv_blocks=4000, max_batch_tokens=4000),
        clock,
        frozenset(),
        speculator=BatchSpeculator(ReferenceBook(Counting())),
    )
    run(engine, clock, [0] * REQUESTS)
    assert not Counting.opened
