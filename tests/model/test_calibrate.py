"""Calibration on the real backend: it measures the whole design and fits something usable."""

from __future__ import annotations

import pytest

pytest.importorskip("legato._native")

from legato.backends.registry import create_backend
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.cost.calibrate import DESIGN, calibrate, make_driver
from legato.cost.estimate import StepCost
from legato.errors import CapacityError
from legato.program.build import build_program
from legato.program.ops import StepShape
from model.tiny import tiny_model

UNSEEN = StepShape(((1, 77), (30, 10)), 2)


def measure(beside=(), max_context=2048, **config):
    arch, weights = tiny_model()
    program = build_program(arch, weights, block_size=16, kv_dtype="f16", max_context=max_context)
    settings = EngineConfig(num_threads=1, kv_dtype="f16", **config)
    backend = create_backend(program, weights, settings)
    try:
        driver = make_driver(program, backend, settings)
        return program, calibrate(driver, settings, RealClock(), seconds=0.0, beside=beside)
    finally:
        backend.close()


def test_every_step_of_the_design_is_timed_and_fitted():
    program, measured = measure()
    assert {step.shape for step in measured.steps} == set(DESIGN)
    assert measured.beside == ()
    assert 0 <= measured.calm_share <= 1
    assert measured.profile.bandwidth > 0
    assert measured.profile.int8_macs > 0
    assert StepCost(program, measured.profile).predict_ns(UNSEEN) > 1


def test_steps_beside_the_design_are_timed_but_not_fitted():
    _, measured = measure(beside=(UNSEEN, DESIGN[0]))
    assert {step.shape for step in measured.beside} == {UNSEEN}
    assert UNSEEN not in {step.shape for step in measured.steps}


def test_steps_that_the_configuration_does_not_allow_are_left_out():
    _, measured = measure(max_batch_tokens=100, max_sequences=16, max_context=1024)
    assert 10 < len(measured.steps) < len(DESIGN)
    assert all(step.shape.tokens <= 100 for step in measured.steps)


def test_a_configuration_that_allows_too_few_steps_is_refused():
    with pytest.raises(CapacityError, match="cannot calibrate"):
        measure(max_batch_tokens=1)
