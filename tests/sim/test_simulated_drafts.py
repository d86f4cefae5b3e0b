"""Drafts from a model in virtual time: what is predicted is what comes, and no batch ever loses.

The simulated backend chooses tokens by seed and position alone, so that a simulated draft is right
unless it is told to be wrong.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from legato.backends.base import StepInput, StepOutput
from legato.backends.simulated import SimulatedBackend
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import Request, SamplingParams
from legato.cost.estimate import StepCost
from legato.cost.machine import DEFAULT_PROFILE, MachineProfile
from legato.draft_model import DraftModel, Target
from legato.engine import Engine, EngineStats
from legato.program.program import Program
from model.tiny import layers, tiny_program

SLOW = DEFAULT_PROFILE.times_as_fast(0.005)
CONFIG = EngineConfig(num_kv_blocks=4000, max_sequences=32)
TOKENS = 100


class UnsureBackend(SimulatedBackend):
    """Right with a probability, by the position alone."""

    rate = 1.0

    def run(self, step: StepInput) -> StepOutput:
        output = super().run(step)
        if step.sampling is None:
            return output
        positions, seeds = (
            values.astype(np.int64) for values in (step.sampling.position, step.sampling.seed)
        )
        luck = (positions * 2654435761 % 1000 + 17 * seeds) % 1000
        tokens = np.where(luck < 1000 * self.rate, output.token_ids, (output.token_ids + 1) % 160)
        return replace(output, token_ids=tokens.astype(np.int32))


def make_program(count: int) -> Program:
    return tiny_program({"layers": layers(*[None] * count)})


def simulated(program: Program, profile: MachineProfile, clock: VirtualClock) -> UnsureBackend:
    return UnsureBackend(program.vocab_size, StepCost(program, profile).predict_ns, clock)


def run(batch: int, *, draft: int = 0, rate: float = 1.0, depth: int = 0, prompt: int = 12):
    """Nanoseconds and figures of `batch` texts; `draft` layers draft for eight."""
    clock, program = VirtualClock(), make_program(8)
    backend = simulated(program, SLOW, clock)
    speculator = None
    if draft:
        own = make_program(draft)
        beside = simulated(own, SLOW, clock)
        beside.rate = rate
        model = DraftModel(Target(None, program, backend, None), own, beside, 0)
        speculator = model.speculator(depth, CONFIG, SLOW, clock)
    engine = Engine(
        program, backend, CONFIG, clock, frozenset(), profile=SLOW, speculator=speculator
    )
    for number in range(batch):
        params = SamplingParams(seed=number, max_tokens=TOKENS)
        engine.add(
            Request(id=str(number), prompt=tuple(i % 160 for i in range(prompt)), params=params)
        )
    stats: list[EngineStats] = []
    while engine.has_work:
        engine.step()
        stats.append(engine.stats())
    return clock.now_ns(), stats


@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("rate", [0.0, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("draft", [1, 4, 8])
def test_no_batch_loses_by_drafting(batch, draft, rate):
    plain, _ = run(batch)
    drafted, _ = run(batch, draft=draft, rate=rate)
    assert plain / drafted > 0.98


def test_a_cheap_and_good_draft_pays():
    plain, _ = run(1)
    drafted, stats = run(1, draft=1, rate=0.9)
    assert plain / drafted > 1.5
    assert stats[-1].speculation.accepted > TOKENS / 2


def test_steps_with_drafts_take_what_is_predicted():
    _, stats = run(2, draft=1, depth=3)
    for step in stats:
        assert step.step_predicted_ns == pytest.approx(step.step_duration_ns, rel=0.02)
    assert stats[-1].prediction_factor == pytest.approx(1.0, rel=0.001)
    assert stats[-1].speculation.drafter_ns > 0


def test_a_long_prompt_is_caught_up_within_the_deadlines():
    _, stats = run(4, draft=2, prompt=180)
    plain = max(step.step_duration_ns for step in run(4, prompt=180)[1])
    assert max(step.step_duration_ns for step in stats) < 1.5 * plain
