"""Steps of any shape, made without an engine, keep the backend's contract."""

from __future__ import annotations

import numpy as np
import pytest

from legato.backends.base import StepOutput
from legato.backends.check import check_step
from legato.clock import VirtualClock
from legato.cost.driver import StepDriver
from legato.cost.timing import CANARY, time_steps, typical_steps
from legato.program.ops import StepShape
from null.fake_backend import VOCAB, fake_program


class StrictBackend:
    """Checks each step and takes a microsecond for each row; every `slow_every`-th takes ten."""

    name = "strict"

    def __init__(self, program, clock, slow_every=0):
        self.program, self.clock, self.slow_every = program, clock, slow_every
        self.steps = []
        self.written = set()

    def allocate_kv(self, num_blocks):
        self.num_blocks = num_blocks

    def copy_blocks(self, sources, targets):
        assert max(targets) < self.num_blocks
        assert not set(sources) & set(targets)
        assert len(sources) == len(targets)
        self.written.update(targets)

    def run(self, step):
        check_step(step, self.program, num_blocks=self.num_blocks)
        self.steps.append(step)
        slow = self.slow_every and len(self.steps) % self.slow_every == 0
        self.clock.advance(len(step.token_ids) * (10_000 if slow else 1_000))
        rows = len(step.output_rows)
        return StepOutput(
            token_ids=np.zeros(rows, np.int32),
            logprobs=np.zeros(rows, np.float32),
            top_ids=np.zeros((rows, 0), np.int32),
            top_logprobs=np.zeros((rows, 0), np.float32),
        )

    def close(self):
        pass


def make(windows=(None,), **options):
    program, clock = fake_program(windows), VirtualClock()
    backend = StrictBackend(program, clock, **options)
    driver = StepDriver(program, backend, pool_tokens=256, depth=48, chunk=32)
    return driver, backend, clock


@pytest.mark.parametrize("windows", [(None,), (24,), (None, 24, 24)])
def test_every_shape_keeps_the_contract(windows):
    driver, backend, _ = make(windows)
    shapes = [
        StepShape(((1, 30),) * 8, 8),
        StepShape(((32, 0),), 0),
        StepShape(((1, 7), (20, 100)), 1),
        StepShape(((16, 16), (3, 0)), 2),
    ]
    for shape in shapes:
        assert driver.fits(shape)
        driver.run(shape)
        step = backend.steps[-1]
        assert np.diff(step.query_starts).tolist() == [rows for rows, _ in shape.sequences]
        assert step.kv_lengths.tolist() == [sum(s) for s in shape.sequences]
        assert len(step.output_rows) == shape.outputs == len(step.sampling.temperature)
        assert step.token_ids.max() < VOCAB


def test_sequences_never_share_a_block():
    driver, backend, _ = make()
    driver.run(StepShape(((1, 30),) * 8, 8))
    blocks = backend.steps[-1].block_tables.ravel().tolist()
    assert len(set(blocks)) == len(blocks)


def test_every_block_has_keys_and_values():
    _, backend, _ = make((None, 24))
    prefilled = {b for step in backend.steps for b in step.block_tables.ravel().tolist()}
    assert prefilled | backend.written == set(range(backend.num_blocks))


def test_what_the_pool_or_the_context_cannot_hold_does_not_fit():
    driver, _, _ = make()
    assert not driver.fits(StepShape(((1, 40),) * 9, 9))
    assert not driver.fits(StepShape(((1, 600),), 1))


def test_steps_are_timed_with_the_clock_in_whole_rounds():
    driver, _, clock = make()
    shapes = [StepShape(((rows, 0),), 1) for rows in (1, 10, 30)]
    timed = time_steps(driver, shapes, clock, seconds=1e-3)
    assert len(timed) % 3 == 0
    assert len(timed) > 3
    assert {(step.shape, step.ns) for step in timed} == {(s, s.tokens * 1000) for s in shapes}
    assert all(step.calm for step in timed)


def test_a_step_beside_a_slow_canary_is_not_calm():
    driver, _, clock = make(slow_every=13)
    shapes = [StepShape(((rows, 0),), 1) for rows in (1, 10, 30)]
    timed = time_steps(driver, shapes, clock, seconds=5e-3)
    assert any(not step.calm for step in timed)
    slow = [step for step in timed if step.ns > step.shape.tokens * 1000]
    assert len(slow) < len(timed) / 4
    assert CANARY.tokens < 10
    assert {step.ns // step.shape.tokens for step in typical_steps(timed)} == {1000}
