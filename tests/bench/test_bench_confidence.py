"""Bounds, fluid token rate."""

from __future__ import annotations

import numpy as np
import pytest

from legato.metrics.confidence import bootstrap_difference, share_interval
from legato.metrics.fluid_rate import FASTEST, fluid_token_rate
from legato.metrics.fluidity import Deadlines, due_times, fluidity
from legato.metrics.timeline import Timeline

MS = 1_000_000


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (8, 10, 0.44390, 0.97479)],
)
def test_bounds_of_a_share_are_those_of_the_tables(
    successes: int, trials: int, low: float, high: float
) -> None:
    interval = share_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-5)


def test_a_share_of_nothing_has_no_bounds() -> None:
    with pytest.raises(ValueError):
        share_interval(0, 0)


def test_bootstrap_sees_a_shift_and_not_noise() -> None:
    generator = np.random.default_rng(1)
    base, same, shifted = (generator.normal(mean, 1, 200) for mean in (0, 0, 1))

    def interval(other: np.ndarray) -> tuple[float, float]:
        found = bootstrap_difference(
            lambda chosen: float(base[chosen].mean()), 200,
            lambda chosen: float(other[chosen].mean()), 200,
        )  # fmt: skip
        return found.low, found.high

    assert interval(same)[0] < 0 < interval(same)[1]
    assert 0.5 < interval(shifted)[0] < interval(shifted)[1] < 1.5


def test_fluid_token_rate_of_a_steady_stream_is_its_rate() -> None:
    steady = Timeline(0, [100 * MS + 10 * MS * number for number in range(200)])
    rate = fluid_token_rate([steady] * 5, lambda timeline: 100 * MS)
    assert rate == pytest.approx(100, rel=0.12)
    assert fluid_token_rate([steady] * 5, lambda timeline: 100 * MS, failed=1) is None


def test_answers_before_their_first_deadline_keep_any_token_rate() -> None:
    early = Timeline(0, [10 * MS, 20 * MS, 30 * MS])
    assert fluid_token_rate([early], lambda timeline: 100 * MS) == FASTEST


def test_due_times_are_the_grid_that_fluidity_scores() -> None:
    gaps = [80, 20, 200, 10, 60]
    deadlines = Deadlines(prefill_ns=100, decode_ns=50)
    due = due_times(gaps, deadlines)
    came = np.cumsum(gaps).tolist()
    late = sum(arrival > limit for arrival, limit in zip(came, due, strict=True))
    assert due == [100, 150, 200, 350, 400]
    assert late == fluidity(gaps, deadlines).late_tokens
