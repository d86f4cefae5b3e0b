"""What a step has left for prefill chunks."""

from __future__ import annotations

from scheduling import FixedPlan

from legato.scheduler import policy
from legato.scheduler.budget import UNLIMITED, StepBudget


class CountingPlan(FixedPlan):
    """Notes how often it was asked."""

    row_ns = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0

    def ns_with(self, rows: int, past: int, outputs: int) -> float:
        self.questions += 1
        return super().ns_with(rows, past, outputs)


def test_chunks_end_where_the_time_does():
    plan = CountingPlan()
    budget = StepBudget(1000, lambda: plan, slack_ns=505)
    assert budget.chunk(30, 0) == 30
    budget.take(30, 0, 1)
    assert budget.chunk(100, 0) == 20
    assert not budget.exhausted


def test_where_one_sequence_gets_no_row_the_others_are_not_asked():
    plan = CountingPlan()
    budget = StepBudget(1000, lambda: plan, slack_ns=505)
    budget.take(50, 0, 1)
    assert not budget.exhausted  # there is time, but less than that of a row
    assert budget.chunk(100, 0) == 0
    asked = plan.questions
    assert budget.exhausted
    assert plan.questions == asked


def test_the_first_chunk_has_rows_whatever_time_is_left():
    budget = StepBudget(1000, CountingPlan, slack_ns=0)
    assert budget.chunk(100, 0) == policy.LEAST_CHUNK
    assert not budget.exhausted


def test_without_a_limit_of_time_the_rows_bound_a_chunk():
    budget = StepBudget(40, CountingPlan, UNLIMITED)
    assert budget.chunk(100, 0) == 40
    budget.take(40, 0, 0)
    assert budget.exhausted
