"""The fit finds the coefficients that made the times, and never a negative one."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from legato.bench.cost import corrected_errors, cost_errors, mixed_shapes
from legato.cost.calibrate import DESIGN
from legato.cost.correct import Correction, CorrectionByKind, Spread
from legato.cost.estimate import ProgramWork, StepCost
from legato.cost.fit import fit_profile, non_negative_least_squares
from legato.cost.machine import LinearPoint, MachineProfile
from legato.cost.timing import TimedStep, typical_steps
from legato.program.ops import StepShape
from model.tiny import tiny_program

TRUTH = MachineProfile(
    bandwidth=1e9,
    int8_macs=1e9,
    op_ns=300.0,
    weight_ns_per_byte=0.4,
    token_rows=(LinearPoint(2, 0.2), LinearPoint(8, 1.0), LinearPoint(512, 80.0)),
    output_rows=(LinearPoint(8, 0.5), LinearPoint(32, 4.0)),
    attention_ns_per_flop=0.1,
    kv_ns_per_byte=0.3,
)
STEP = StepShape(((1, 0),), 1)
MS = 1_000_000


@pytest.fixture(scope="module")
def program():
    return tiny_program(max_context=2048)


def timed(cost: StepCost, shapes, noise: float = 0.0) -> list[TimedStep]:
    random = np.random.default_rng(3)
    factors = 1 + noise * random.standard_normal(len(shapes))
    return [
        TimedStep(shape, int(cost.predict_ns(shape) * factor))
        for shape, factor in zip(shapes, factors, strict=True)
    ]


def mixed(count: int = 80) -> list[StepShape]:
    return mixed_shapes(count, max_tokens=512, max_sequences=64, seed=1)


def test_the_design_determines_all_coefficients(program):
    truth = StepCost(program, TRUTH)
    steps = timed(truth, DESIGN)
    profile = fit_profile(ProgramWork.of(program), steps, bandwidth=1.0, int8_macs=1.0)
    errors = cost_errors(StepCost(program, profile), timed(truth, mixed()))
    assert errors.p95 < 0.01


def test_noisy_times_still_predict_other_steps(program):
    truth = StepCost(program, TRUTH)
    steps = timed(truth, DESIGN, noise=0.05)
    profile = fit_profile(ProgramWork.of(program), steps, bandwidth=1.0, int8_macs=1.0)
    errors = cost_errors(StepCost(program, profile), timed(truth, mixed()))
    assert errors.median < 0.08
    assert errors.p95 < 0.2


def test_too_few_steps_are_refused(program):
    with pytest.raises(ValueError, match="cannot determine"):
        fit_profile(ProgramWork.of(program), [TimedStep(STEP, 5)] * 4, bandwidth=1.0, int8_macs=1.0)


def test_least_squares_without_negative_coefficients_is_optimal():
    random = np.random.default_rng(0)
    for _ in range(50):
        terms, target = random.standard_normal((12, 5)), random.standard_normal(12)
        x = non_negative_least_squares(terms, target)
        slope = terms.T @ (target - terms @ x)
        assert (x >= 0).all()
        assert (slope <= 1e-8).all()  # Karush, Kuhn and Tucker: no coefficient wants to grow,
        assert abs(slope[x > 0]).max(initial=0) < 1e-8  # and the free ones are at rest


def test_only_calm_times_of_a_step_count():
    steps = [TimedStep(STEP, 90, 3.0), *(TimedStep(STEP, ns, 1.0) for ns in (10, 11, 30))]
    assert typical_steps(steps) == [TimedStep(STEP, 11, 1.0)]


def test_the_calmest_time_counts_where_none_was_calm():
    steps = [TimedStep(STEP, 90, 3.0), TimedStep(STEP, 50, 2.0)]
    assert typical_steps(steps) == [TimedStep(STEP, 50, 2.0)]


def test_a_machine_that_slows_down_is_followed(program):
    cost = StepCost(program, TRUTH)
    slow = [TimedStep(step.shape, 2 * step.ns) for step in timed(cost, mixed(400))]
    assert cost_errors(cost, slow).median == pytest.approx(0.5, abs=0.01)
    assert corrected_errors(cost, slow).median < 0.03


def test_the_correction_is_slow_and_bounded():
    correction = Correction()
    for _ in range(1000):
        correction.observe(100, 100)
    correction.observe(100, 10**9)
    assert correction.factor < 1.03
    for _ in range(10_000):
        correction.observe(100, 10**9)
    assert correction.factor <= 4.0
    assert correction.corrected_ns(100) <= 400


def test_a_burst_of_stalls_does_not_mislead_the_correction():
    correction = Correction()
    for _ in range(200):
        correction.observe(100, 100)
    for _ in range(40):
        correction.observe(100, 400)
    assert correction.factor < 1.1


@pytest.mark.parametrize("step_ms", [5, 60])
@pytest.mark.parametrize("times", [0.5, 1.3, 2.0])
def test_a_machine_that_changed_is_known_within_half_a_second_or_nine_steps(step_ms, times):
    correction, usual = Correction(), step_ms * MS
    for _ in range(200):
        correction.observe(usual, usual)
    for speed in (times, 1.0):
        for _ in range(max(9, round(500 / (step_ms * speed)))):
            correction.observe(usual, round(usual * speed))
        assert correction.factor == pytest.approx(speed, rel=0.05)


def test_a_stall_of_a_tenth_of_a_second_is_no_change():
    correction = Correction()
    for _ in range(200):
        correction.observe(5 * MS, 5 * MS)
    for _ in range(5):
        correction.observe(5 * MS, 20 * MS)
    assert correction.factor < 1.02


def test_the_running_error_is_that_of_corrected_predictions():
    correction = CorrectionByKind()
    for _ in range(500):
        correction.observe(True, 100, 200)
    assert correction.factor(True) == pytest.approx(2.0, rel=1e-3)
    assert correction.error < 0.01


def test_steps_with_prompts_and_decodes_are_corrected_apart_once_enough_were_seen():
    correction = CorrectionByKind()
    for number in range(400):
        correction.observe(True, 100, 80)
        if number < 10:
            correction.observe(False, 100, 120)
    assert correction.factor(True) == pytest.approx(0.8, rel=0.01)
    assert correction.factor(False) == correction.overall.factor
    for _ in range(400):
        correction.observe(False, 100, 120)
    assert correction.factor(False) == pytest.approx(1.2, rel=0.01)
    assert correction.factor(True) == pytest.approx(0.8, rel=0.01)


@pytest.mark.parametrize("noise", [0.02, 0.08])
def test_nine_steps_of_ten_end_within_the_spread(noise):
    random, spread, within = Random(3), Spread(), []
    for _ in range(4000):
        measured = round(1_000_000 * math.exp(random.gauss(0.0, noise)))
        within.append(measured <= 1_000_000 * spread.factor)
        spread.observe(1_000_000, measured)
    assert sum(within[500:]) / 3500 == pytest.approx(0.9, abs=0.02)
    assert spread.factor == pytest.approx(math.exp(1.28 * noise), rel=0.05)


def test_without_errors_there_is_no_spread_and_the_largest_is_bounded():
    spread = Spread()
    for _ in range(100):
        spread.observe(1000, 1000)
    assert spread.factor == 1.0
    for _ in range(1000):
        spread.observe(1000, 9000)
    assert spread.factor == pytest.approx(1.25)


def test_without_steps_there_is_no_error(program):
    assert cost_errors(StepCost(program, TRUTH), []) is None


def test_the_mixed_load_is_a_function_of_its_seed():
    assert mixed() == mixed()
    assert mixed() != mixed_shapes(80, max_tokens=512, max_sequences=64, seed=2)


def test_the_mixed_load_keeps_to_the_limits():
    for shape in mixed_shapes(300, max_tokens=20, max_sequences=3, seed=0):
        assert shape.tokens <= 20
        assert len(shape.sequences) <= 3
