"""Looking for drafts is not felt: who cannot win is asked seldom, and nothing when nobody can."""

from __future__ import annotations

import pytest

from legato.scheduler.budget import UNLIMITED, StepBudget
from legato.speculative.accept import PRIOR_RATES
from legato.speculative.book import ReferenceBook
from legato.speculative.depth import (
    MARGIN,
    MAX_DEPTH,
    choose_depths,
    least_gain,
    longest_ns,
    margin,
    row_times,
)
from legato.speculative.rota import (
    FEW,
    HOPELESS_WAIT,
    LONGEST_REST,
    LONGEST_WAIT,
    MOST_HOPED,
    QUESTION_NS,
    REVIEW,
    Rota,
)
from legato.speculative.row_prices import PriceList
from legato.speculative.speculator import BatchSpeculator
from null.fake_backend import finish_all, make_engine, make_request

LONG = 64


class CountingDrafter:
    """Proposes nothing, or always wrong tokens, and counts how often it was asked."""

    name = "counting"
    priors = PRIOR_RATES

    def __init__(self, tokens: tuple[int, ...] = ()) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def open(self, tenant: str) -> CountingDrafter:
        return self

    def extend(self, tokens) -> None:
        pass

    def propose(self, count: int) -> list[int]:
        self.asked += 1
        return self.tokens[:count]

    def finish(self, output) -> None:
        pass

    @property
    def confidences(self) -> list[int]:
        return [0] * len(self.tokens)


@pytest.mark.parametrize("decodes", [1, FEW])
def test_few_sequences_are_asked_in_every_step_and_less_often_where_that_does_not_pay(decodes):
    rota = Rota()
    assert all(rota.begin(decodes) and rota.asks_all(decodes) for _ in range(20))
    for _ in range(100):
        rota.note(set(), 0.0)
    assert sum(rota.begin(decodes) for _ in range(100)) == 100 // LONGEST_REST
    assert sum(rota.begin(8) for _ in range(320)) == 320 // (8 * LONGEST_REST)


def test_who_is_asked_seldom_is_asked_in_every_step_again_when_drafts_pay():
    rota, won_ns = Rota(), 0.0
    for _ in range(100):
        rota.note(set(), won_ns)
    for _ in range(100):
        won_ns += 2 * QUESTION_NS
        rota.note(set(), won_ns)
    assert all(rota.begin(FEW) for _ in range(20))


@pytest.mark.parametrize(("share", "pays"), [(0.5, False), (2.0, True)])
def test_drafts_pay_where_they_win_more_than_asking_takes(share, pays):
    rota = Rota()
    for number in range(1, 1 + REVIEW * LONGEST_REST):
        rota.note({"drafts"} if number % 2 else set(), number * share * QUESTION_NS)
    rota.note(set(), 0.0)
    asked = sum(rota.begin(FEW) for _ in range(20 * LONGEST_REST))
    assert (asked == 20 * LONGEST_REST) == pays


@pytest.mark.parametrize("decodes", [4, 8, 32, 200])
def test_many_sequences_are_asked_together_and_seldom(decodes):
    rota = Rota()
    asked = [rota.begin(decodes) for _ in range(160)]
    assert sum(asked) == 160 // min(decodes, LONGEST_WAIT)


def test_who_is_promising_is_asked_in_every_step_alone():
    rota = Rota()
    rota.note({"sure"}, 0.0)
    assert all(rota.begin(8) for _ in range(20))
    assert not rota.asks_all(8)
    rota.note(set(), 0.0)
    assert not all(rota.begin(8) for _ in range(20))


def test_a_full_batch_without_luck_is_hardly_ever_asked():
    drafter = CountingDrafter()
    engine, _ = make_engine(max_sequences=32, speculator=BatchSpeculator(ReferenceBook(drafter)))
    finish_all(engine, *(make_request(str(i), start=i, max_tokens=LONG) for i in range(32)))
    assert drafter.asked <= 32 * (LONG // LONGEST_WAIT + 2)


def test_where_no_draft_can_pay_nobody_is_asked_for_long():
    rota = Rota()
    assert rota.may_pay(2, MOST_HOPED)
    assert rota.begin(2)
    assert not rota.may_pay(2, MOST_HOPED + 0.01)
    asked = [rota.begin(2) for _ in range(4 * HOPELESS_WAIT)]
    assert sum(asked) == 4
    assert rota.begin(1)  # of another number nothing is known


def test_drafts_lengthen_steps_less_the_more_sequences_wait():
    assert longest_ns(1, 10.0) == float("inf")
    stretches = [longest_ns(decodes, 1.0) for decodes in (2, 4, 8, 32)]
    assert stretches == sorted(stretches, reverse=True)
    assert stretches[0] == 1.5
    assert stretches[-1] > 1


def test_the_least_gain_is_what_the_cheapest_rows_must_bring():
    tenths = [1 + 0.1 * rows for rows in range(9)]
    assert least_gain(1, tenths) == pytest.approx((MARGIN * 1.8 - 1) / 8, abs=1e-9)
    assert least_gain(4, [1.0 + rows for rows in range(100)]) > 1
    assert least_gain(4, [1.0]) == float("inf")


@pytest.mark.parametrize("decodes", [1, 3, 8, 32])
@pytest.mark.parametrize("slope", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("jump", [0.0, 0.3])
def test_below_the_least_gain_no_depth_pays(decodes, slope, jump):
    def step_ns(rows: int) -> float:
        return 1 + slope * rows + jump * (decodes + rows > 8)

    times = row_times(decodes, step_ns, 256)
    below = [[0.999 * min(least_gain(decodes, times), 1.0)] * 8] * decodes
    assert sum(choose_depths(below, decodes, times, margin(decodes))) == 0


class SlopedPlan:
    """Every drafted row costs `slope` of a step without."""

    spread = 1.0

    def __init__(self, slope: float) -> None:
        self.slope = slope
        self.asked = 0

    def ns(self) -> float:
        return 1e6

    def ns_widened(self, rows: int, past: int) -> float:
        self.asked += 1
        return 1e6 * (1 + self.slope * rows)


def budget_of(plan: SlopedPlan) -> StepBudget:
    return StepBudget(64, lambda: plan, UNLIMITED)


def test_equal_steps_are_priced_once():
    prices, plan = PriceList(), SlopedPlan(0.1)
    first = prices.of(2, 100, budget_of(plan))
    before = plan.asked
    assert prices.of(2, 120, budget_of(plan)) is first
    assert plan.asked == before
    prices.of(2, 2000, budget_of(plan))
    assert plan.asked > before


def test_prices_follow_a_machine_that_changes():
    prices = PriceList()
    cheap = prices.of(2, 100, budget_of(SlopedPlan(0.1))).least_gain
    dear = [prices.of(2, 100, budget_of(SlopedPlan(0.3))).least_gain for _ in range(200)]
    assert dear[0] == cheap
    assert dear[-1] > cheap


def test_prices_end_where_drafts_would_lengthen_the_step_too_much():
    assert len(PriceList().of(2, 100, budget_of(SlopedPlan(0.1))).times) == 1 + 5
    assert len(PriceList().of(1, 100, budget_of(SlopedPlan(0.1))).times) == 1 + MAX_DEPTH


def test_good_guesses_that_cannot_pay_beside_so_many_are_asked_seldom_too(monkeypatch):
    monkeypatch.setattr("legato.speculative.book.choose_depths", lambda gains, *_: [0] * 32)
    monkeypatch.setattr("legato.speculative.row_prices.least_gain", lambda *_: 0.01)
    drafter = CountingDrafter(tuple(range(16)))
    engine, _ = make_engine(max_sequences=32, speculator=BatchSpeculator(ReferenceBook(drafter)))
    finish_all(engine, *(make_request(str(i), start=i, max_tokens=LONG) for i in range(32)))
    assert 0 < drafter.asked <= 32 * (LONG // LONGEST_WAIT + 2)
