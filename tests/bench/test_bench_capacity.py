"""The search for capacity, on servers whose capacity is known."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.bench.capacity import Capacity, Point, find_capacity, judged
from legato.bench.rule import Rule, Search
from legato.errors import LegatoError
from legato.metrics.sequential import ShareTest

SHARE = 0.99
TEST = ShareTest(share=SHARE, too_low=0.95, risk=0.05)


def cliff(limit: float, search: Search) -> tuple[Capacity, list[tuple[float, bool]]]:
    tried: list[tuple[float, bool]] = []

    def trial(rate: float, rule: Rule) -> Point:
        tried.append((rate, rule.evidence == rule.test.enough))
        return Point(rate, 400 if rate <= limit else 200, 400, 60.0)

    return find_capacity(search, SHARE, trial), tried


@pytest.mark.parametrize("limit", [0.3, 1.0, 5.7, 40.0])
def test_a_cliff_is_found_within_the_precision(limit: float) -> None:
    capacity, tried = cliff(limit, Search(precision=1.05))
    assert capacity.kept is not None
    assert capacity.refuted is not None
    assert capacity.kept.rate <= limit < capacity.refuted.rate <= capacity.kept.rate * 1.05
    assert capacity.kept.sure
    assert capacity.refuted.sure
    assert [point.rate for point in capacity.points] == [rate for rate, _ in tried]


def test_the_capacity_was_tried_thoroughly_even_if_a_short_trial_found_it() -> None:
    capacity, tried = cliff(2.0, Search(precision=2.0))
    assert tried == [(1.0, False), (2.0, False), (4.0, False), (4.0, False), (2.0, True)]
    assert capacity.kept is not None
    assert capacity.kept.thorough


def test_a_thorough_trial_overrules_a_short_one() -> None:
    """1.5/s looks kept at first, and is not."""

    def trial(rate: float, rule: Rule) -> Point:
        thorough = rule.evidence == rule.test.enough
        return Point(rate, 400 if rate < (1.5 if thorough else 4) else 300, 400, 60.0)

    capacity = find_capacity(Search(precision=1.9), SHARE, trial)
    assert capacity.rate == pytest.approx(2**0.5)
    assert capacity.refuted is not None
    assert capacity.refuted.rate == 2.0


def test_one_bad_moment_does_not_decide() -> None:
    trials: list[float] = []

    def trial(rate: float, rule: Rule) -> Point:
        trials.append(rate)
        stalled = len(trials) in (1, 4)
        return Point(rate, 400 if rate <= 3 and not stalled else 300, 400, 60.0)

    capacity = find_capacity(Search(precision=2.0), SHARE, trial)
    assert trials == [1.0, 1.0, 2.0, 4.0, 4.0, 2.0]
    assert capacity.rate == 2.0
    assert [point.overruled for point in capacity.points] == [True] + [False] * 5


def test_where_no_rate_is_kept_there_is_no_capacity() -> None:
    capacity = find_capacity(Search(), SHARE, lambda rate, rule: Point(rate, 0, 10, 1.0))
    assert capacity.rate is None
    assert capacity.refuted is not None
    assert json.loads(json.dumps(capacity.to_json()))["rate"] is None


def test_an_interrupted_search_keeps_its_curve() -> None:
    capacity = find_capacity(
        Search(), SHARE, lambda rate, rule: Point(rate, 99, 99, 60.0) if rate < 3 else None
    )
    assert capacity.interrupted
    assert capacity.rate == 2.0


def test_a_trial_without_requests_is_an_error() -> None:
    with pytest.raises(LegatoError, match="longer"):
        find_capacity(Search(), SHARE, lambda rate, rule: Point(rate, 0, 0, 1.0))


def test_a_trial_without_verdict_goes_by_what_was_observed_and_says_so() -> None:
    rule = Search().rule(SHARE, thorough=True)
    kept, lost = (judged(Point(1.0, fluid, 20, 60.0), rule, True) for fluid in (20, 19))
    assert (kept.kept, kept.sure) == (True, False)
    assert (lost.kept, lost.sure) == (False, False)


@pytest.mark.parametrize(
    "wrong", [{"precision": 1.0}, {"start": 0.0}, {"duration": 9.0, "longest": 8.0}]
)
def test_a_search_that_cannot_end_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(LegatoError):
        Search(**wrong)


@pytest.mark.parametrize("share", [1.0, 0.03])
def test_a_share_that_no_test_can_tell_is_refused(share: float) -> None:
    with pytest.raises(LegatoError, match="between 0 and 1"):
        Search().rule(share, thorough=True)


def test_a_yes_takes_its_time_and_a_no_does_not() -> None:
    rule = Search(duration=30.0).rule(SHARE, thorough=True)
    assert rule.verdict(100, 100, 29.0) is None
    assert rule.verdict(100, 100, 30.0) is True
    assert rule.verdict(0, 2, 0.1) is False


def test_one_miss_in_a_hundred_is_no_verdict_against_a_rate() -> None:
    rule = Search().rule(SHARE, thorough=True)
    assert all(rule.verdict(number - 1, number, 99.0) is not False for number in range(1, 200))


@given(st.integers(0, 300), st.integers(0, 300))
def test_each_hit_speaks_for_the_share_and_each_miss_against_it(hits: int, misses: int) -> None:
    evidence = TEST.evidence(hits, misses)
    assert TEST.evidence(hits + 1, misses) > evidence > TEST.evidence(hits, misses + 1)


@pytest.mark.parametrize(("true_share", "passes"), [(0.99, True), (0.95, False)])
def test_wrong_verdicts_are_as_rare_as_promised(true_share: float, passes: bool) -> None:
    """Wald's bound on 2,000 seeded trials; 0.07 leaves room for chance."""
    generator = random.Random(4)
    wrong = sum(_decide(generator, true_share) != passes for _ in range(2000))
    assert wrong / 2000 <= 0.07


def _decide(generator: random.Random, true_share: float) -> bool:
    hits = misses = 0
    while abs(TEST.evidence(hits, misses)) < TEST.enough:
        hit = generator.random() < true_share
        hits, misses = hits + hit, misses + (not hit)
    return TEST.evidence(hits, misses) > 0


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"too_low": 0.995}, {"risk": 0.5}])
def test_a_test_that_cannot_decide_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cannot decide"):
        ShareTest(**{"share": 0.99, "too_low": 0.95, "risk": 0.05, **wrong})
