"""Depths where a drafted token costs time of its own."""

from __future__ import annotations

import pytest

from legato.speculative.model_depth import choose_model_depths, net_gain


def choose(gains, *, draft=1.0, row=0.1, limit=1e9, rows=100, decodes=None, step=10.0):
    return choose_model_depths(
        gains,
        decodes=decodes or len(gains),
        verify_ns=lambda count: step + row * count,
        level_ns=lambda level, count: draft + 0.1 * count,
        limit_ns=limit,
        max_rows=rows,
    )


def falling(rate: float, count: int = 8) -> list[float]:
    return [rate**place for place in range(1, count + 1)]


def test_a_cheap_and_good_draft_is_as_deep_as_it_may_be():
    assert choose([falling(0.99)], draft=0.1) == [8]


def test_a_draft_as_dear_as_the_target_is_not_made():
    assert choose([falling(0.99)], draft=10.0) == [0]


def test_a_worse_one_is_shallower():
    deep, shallow = choose([falling(0.8)])[0], choose([falling(0.5)])[0]
    assert 0 < shallow < deep < 8


def test_the_same_depth_costs_one_step_for_all():
    assert choose([falling(0.9), falling(0.7)])[0] >= choose([falling(0.9), falling(0.7)])[1] > 0


def test_deadlines_and_rows_bound_the_depth():
    assert choose([falling(0.99)], draft=0.1, limit=10.7) == [2]
    assert choose([falling(0.99)], draft=0.1, rows=3) == [3]
    assert choose([falling(0.99)], draft=0.1, rows=0) == [0]


def test_without_gains_nothing_is_drafted():
    assert choose([[], []]) == [0, 0]
    assert choose([[0.01]], draft=0.0, row=0.0) == [0]


@pytest.mark.parametrize(
    ("token_ns", "draft_ns", "expected"), [(10.0, 1.0, 0.4 + 0.15), (10.0, 6.0, 0.0)]
)
def test_the_net_gain_is_what_is_left_at_the_best_depth(token_ns, draft_ns, expected):
    assert net_gain([0.5, 0.25, 0.05], token_ns, draft_ns) == pytest.approx(expected)
