"""Acceptance is learnt by class; drafts are as deep as pays within the time that is left."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.speculative.accept import Acceptance, expected_tokens, gains, num_accepted
from legato.speculative.depth import MARGIN, choose_depths

PRIORS = (0.1, 0.5, 0.9)
FOREVER = 1e18


def flat(rows: int) -> float:
    """Rows cost nothing."""
    return 1.0


def linear(rows: int) -> float:
    """Every row costs what the first did."""
    return 1.0 + rows


@pytest.mark.parametrize(
    ("draft", "chosen", "accepted"),
    [
        ([], [5], 0),
        ([5], [5, 6], 1),
        ([4], [5, 6], 0),
        ([5, 6, 7], [5, 6, 7, 8], 3),
        ([5, 9, 7], [5, 6, 7, 8], 1),
        ([5, 6, 7], [5, 6], 2),
    ],
)
def test_a_draft_is_accepted_up_to_the_first_token_that_differs(
    draft: list[int], chosen: list[int], accepted: int
) -> None:
    assert num_accepted(draft, chosen) == accepted


def test_a_class_begins_with_its_prior_and_follows_what_happens() -> None:
    acceptance = Acceptance(PRIORS)
    assert [acceptance.rate(c) for c in (0, 1, 2, 7)] == [0.1, 0.5, 0.9, 0.9]
    for _ in range(50):
        acceptance.observe(0, 4, 4)
        acceptance.observe(2, 4, 0)
    assert acceptance.rate(0) > 0.95
    assert acceptance.rate(1) == 0.5
    assert acceptance.rate(2) < 0.05


def test_tokens_behind_a_wrong_one_say_nothing() -> None:
    short, long = Acceptance((0.5,)), Acceptance((0.5,))
    short.observe(0, 2, 1)
    long.observe(0, 16, 1)
    assert short.rate(0) == long.rate(0)


def test_no_draft_teaches_nothing() -> None:
    acceptance = Acceptance((0.5,))
    acceptance.observe(0, 0, 0)
    assert acceptance.rate(0) == 0.5


@given(st.floats(0, 0.99), st.integers(0, 12))
def test_expected_tokens_is_the_closed_form(rate: float, count: int) -> None:
    closed = (1 - rate ** (count + 1)) / (1 - rate)
    assert expected_tokens(rate, count) == pytest.approx(closed)
    assert len(gains(rate, count)) == count


def test_free_rows_are_used_up_to_the_limit() -> None:
    assert choose_depths([0.9, 0.8], [4, 3], flat, FOREVER) == [4, 3]


def test_rows_that_cost_as_much_as_a_step_are_not_worth_it() -> None:
    assert choose_depths([0.9, 0.8], [4, 3], linear, FOREVER) == [0, 0]


def test_the_surer_sequence_drafts_deeper() -> None:
    sure, unsure = choose_depths([0.95, 0.3], [8, 8], lambda rows: 1 + 0.05 * rows, FOREVER)
    assert sure > unsure


def test_a_sequence_without_a_proposal_drafts_nothing() -> None:
    assert choose_depths([0.9, 0.0], [0, 4], flat, FOREVER) == [0, 0]


def test_deadlines_bound_the_step() -> None:
    depths = choose_depths([0.99], [16], lambda rows: 1 + 0.1 * rows, budget_ns=1.45)
    assert depths == [4]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=3),
    st.lists(st.floats(0, 0.5), min_size=9, max_size=9),
)
def test_the_choice_is_never_predicted_to_lose_and_is_best_for_convex_times(
    sequences: list[tuple[float, int]], steps: list[float]
) -> None:
    times = [1.0]
    for slope in sorted(steps):
        times.append(times[-1] + slope)
    rates = [rate for rate, _ in sequences]
    limits = [limit for _, limit in sequences]

    def value(depths: list[int]) -> float:
        tokens = sum(expected_tokens(r, d) for r, d in zip(rates, depths, strict=True))
        return tokens / times[sum(depths)]

    chosen = choose_depths(rates, limits, lambda rows: times[rows], FOREVER)
    none = [0] * len(rates)
    best = max(value(list(depths)) for depths in product(*(range(n + 1) for n in limits)))
    assert value(chosen) >= value(none)
    assert value(chosen) >= best / MARGIN - 0.1
