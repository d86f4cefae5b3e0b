"""Acceptance is learnt by class; drafts are as deep as pays within the time that is left."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.bench.speculate import expected_tokens
from legato.speculative.accept import Acceptance
from legato.speculative.depth import MIN_GAIN, choose_depths, margin

PRIORS = ((0.1, 0.1), (0.5, 0.5), (0.9, 0.9))
FOREVER = 1e18
MANY = 1000


def depths(rates, limits, step_ns, limit_ns=FOREVER, max_rows=MANY):
    gains = [[rate**k for k in range(1, n + 1)] for rate, n in zip(rates, limits, strict=True)]
    times = list(map(step_ns, range(min(sum(limits), max_rows) + 1)))
    return choose_depths(gains, len(rates), times, margin(len(rates)), limit_ns)


def flat(rows: int) -> float:
    """Rows cost nothing."""
    return 1.0


def linear(rows: int) -> float:
    """Every row costs what the first did."""
    return 1.0 + rows


def test_a_class_begins_with_its_prior_and_follows_what_happens() -> None:
    acceptance = Acceptance(PRIORS)
    assert [acceptance.rate(c, 0) for c in (0, 1, 2, 7)] == pytest.approx([0.1, 0.5, 0.9, 0.9])
    for _ in range(100):
        acceptance.observe(0, 1, 1)
        acceptance.observe(2, 1, 0)
    assert acceptance.rate(0, 0) > 0.95
    assert acceptance.rate(0, 1) == pytest.approx(0.1)
    assert acceptance.rate(1, 0) == pytest.approx(0.5)
    assert acceptance.rate(2, 0) < 0.05


def test_places_are_learnt_apart_and_later_ones_as_the_last() -> None:
    acceptance = Acceptance(((0.5, 0.5),))
    for _ in range(100):
        acceptance.observe(0, 9, 1)
    assert acceptance.rate(0, 0) > 0.95
    assert acceptance.rate(0, 1) < 0.05
    assert acceptance.rate(0, 8) == acceptance.rate(0, 1)


def test_tokens_behind_a_wrong_one_say_nothing() -> None:
    short, long = Acceptance(), Acceptance()
    short.observe(0, 2, 1)
    long.observe(0, 16, 1)
    assert short.rates == long.rates


def test_no_draft_teaches_nothing() -> None:
    acceptance = Acceptance(PRIORS)
    acceptance.observe(0, 0, 0)
    assert acceptance.rates == Acceptance(PRIORS).rates


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_gains_never_rise_whatever_was_learnt(history: list[tuple[int, int, int]]) -> None:
    acceptance = Acceptance()
    for confidence, drafted, accepted in history:
        acceptance.observe(confidence, drafted, min(drafted, accepted))
    for confidence in range(8):
        gains = acceptance.gains(confidence, 10)
        assert gains == sorted(gains, reverse=True)
        assert all(0 <= gain <= 1 for gain in gains)


@given(st.floats(0, 0.99), st.integers(0, 12))
def test_expected_tokens_is_the_closed_form(rate: float, count: int) -> None:
    closed = (1 - rate ** (count + 1)) / (1 - rate)
    assert expected_tokens(rate, count) == pytest.approx(closed)


def test_free_rows_are_used_up_to_the_limit() -> None:
    assert depths([0.9, 0.8], [4, 3], flat) == [4, 3]


def test_rows_that_cost_as_much_as_a_step_are_not_worth_it() -> None:
    assert depths([0.9, 0.8], [4, 3], linear) == [0, 0]


def test_the_surer_sequence_drafts_deeper() -> None:
    sure, unsure = depths([0.95, 0.3], [8, 8], lambda rows: 1 + 0.05 * rows)
    assert sure > unsure


def test_a_sequence_without_a_proposal_drafts_nothing() -> None:
    assert depths([0.9, 0.0], [0, 4], flat) == [0, 0]


def test_deadlines_bound_the_step() -> None:
    assert depths([0.99], [16], lambda rows: 1 + 0.1 * rows, limit_ns=1.45) == [4]


def test_rows_of_the_step_bound_the_drafts() -> None:
    assert sum(depths([0.99, 0.99], [16, 16], flat, max_rows=5)) == 5


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=3),
    st.lists(st.floats(0, 0.5), min_size=9, max_size=9),
)
def test_the_choice_is_the_best_by_the_prediction_and_never_loses(
    sequences: list[tuple[float, int]], slopes: list[float]
) -> None:
    times = [1.0]
    for slope in slopes:
        times.append(times[-1] + slope)
    rates = [rate for rate, _ in sequences]
    limits = [limit for _, limit in sequences]

    def value(chosen: tuple[int, ...]) -> float:
        tokens = sum(expected_tokens(r, d) for r, d in zip(rates, chosen, strict=True))
        return tokens / times[sum(chosen)]

    chosen = value(tuple(depths(rates, limits, lambda rows: times[rows])))
    best = max(map(value, product(*(range(n + 1) for n in limits))))
    assert chosen >= value((0,) * len(rates))
    assert chosen >= best / margin(len(rates)) - MIN_GAIN * sum(limits)
