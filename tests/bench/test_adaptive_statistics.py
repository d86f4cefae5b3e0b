"""Bounds of paired differences and calibration, against numbers worked by hand."""

from __future__ import annotations

import pytest

from legato.metrics.calibration import calibrate
from legato.metrics.paired import mean_interval, share_difference


def pairs(both: int, only_second: int, only_first: int, neither: int):
    second = [True] * (both + only_second) + [False] * (only_first + neither)
    first = [True] * both + [False] * only_second + [True] * only_first + [False] * neither
    return first, second


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((54, 0, 0, 0), -0.0664, 0.0664),
    ],
)
def test_the_bounds_of_a_paired_difference(counts, low, high):
    interval = share_difference(*pairs(*counts))
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_the_difference_is_second_minus_first():
    first, second = pairs(36, 12, 2, 0)
    forth, back = share_difference(first, second), share_difference(second, first)
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))


def test_equal_answers_to_few_questions_do_not_make_sure():
    interval = share_difference([True, False] * 10, [True, False] * 10)
    assert interval.low < -0.05 < 0.05 < interval.high


def test_the_interval_of_a_mean():
    assert mean_interval([2.0] * 9) == mean_interval([2.0])
    interval = mean_interval([0.0, 1.0] * 50)
    # A mean of 100 fair coins: 0.5 ± 1.96 · 0.05.
    assert interval.low == pytest.approx(0.402, abs=0.015)
    assert interval.high == pytest.approx(0.598, abs=0.015)
    assert mean_interval([0.0, 1.0] * 50) == interval


def test_calibration_by_hand():
    judged = calibrate([0.95, 0.9, 1.0, 0.2, 0.25], [True, True, False, False, True])
    low, high = judged.bins
    assert (low.count, low.right, low.confidence) == (2, 1, pytest.approx(0.225))
    assert (high.count, high.right, high.confidence) == (3, 2, pytest.approx(0.95))
    # (0.05² + 0.1² + 1² + 0.2² + 0.75²) / 5
    assert judged.brier == pytest.approx(0.323)
    # (2 · |0.225 − 0.5| + 3 · |0.95 − 2/3|) / 5
    assert judged.ece == pytest.approx(0.28)
    assert judged.to_json()["bins"][0]["accuracy"] == 0.5


@pytest.mark.parametrize("confidences", [[], [1.1], [float("nan")]])
def test_what_cannot_be_calibrated_is_refused(confidences):
    with pytest.raises(ValueError, match="from 0 to 1"):
        calibrate(confidences, [True] * len(confidences))


def test_no_values_have_no_interval():
    with pytest.raises(ValueError):
        mean_interval([])
    with pytest.raises(ValueError):
        share_difference([], [])
