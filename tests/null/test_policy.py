"""The decisions of the scheduler, which are pure functions."""

from __future__ import annotations

import pytest
from scheduling import new_samples

from legato.core import FinishReason
from legato.scheduler import policy


@pytest.mark.parametrize(
    ("budget", "pending", "room", "rows"),
    [(16, 40, 99, 16), (64, 40, 99, 40), (64, 40, 7, 7), (0, 40, 9, 0), (8, 8, -3, 0)],
)
def test_a_chunk_is_what_budget_prompt_and_room_allow(budget, pending, room, rows):
    assert policy.prefill_rows(budget, pending, room) == rows


def test_admission_leaves_room_for_those_that_run():
    assert policy.may_admit(10, 8, num_running=1, blocks_per_growth=2)
    assert not policy.may_admit(10, 8, num_running=2, blocks_per_growth=2)
    assert policy.may_admit(10, 11, num_running=0, blocks_per_growth=2)


def test_the_victim_is_the_last_in_rank_or_oneself_but_never_the_only_one():
    (a,), (b,) = new_samples(1), new_samples(2)
    assert policy.choose_victim([a, b]) is b
    assert policy.choose_victim([a]) is None


def test_reasons_to_finish():
    (sequence,) = new_samples(1)
    sequence.append(5)
    assert policy.finish_reason(sequence, 5) is None
    assert policy.finish_reason(sequence, 3) is FinishReason.STOP
    for _ in range(99):
        sequence.append(5)
    assert policy.finish_reason(sequence, 5) is FinishReason.LENGTH


def test_a_chunk_is_the_largest_that_fits_the_time():
    assert policy.largest_chunk(500, 16, 100.0, lambda rows: 20 + rows) == 80
    assert policy.largest_chunk(50, 16, 100.0, lambda rows: 20 + rows) == 50
    assert policy.largest_chunk(500, 16, 10.0, lambda rows: 20 + rows) == 16
    assert policy.largest_chunk(5, 16, 10.0, lambda rows: 20 + rows) == 5
    assert policy.largest_chunk(500, 0, 10.0, lambda rows: 20 + rows) == 0


@pytest.mark.parametrize("limit", [0, 3, 17, 99.5, 1000])
def test_no_row_more_would_fit(limit):
    rows = policy.largest_chunk(512, 0, limit, lambda n: n + n * n / 50)
    assert rows == 0 or rows + rows * rows / 50 <= limit
    assert rows == 512 or rows + 1 + (rows + 1) ** 2 / 50 > limit


def test_a_late_token_starts_a_new_grid_and_an_early_one_keeps_a_bounded_credit():
    assert policy.next_due_ns(due_ns=1000, time_ns=1300, tbt_ns=100) == 1400
    assert policy.next_due_ns(due_ns=1000, time_ns=990, tbt_ns=100) == 1100
    assert policy.next_due_ns(due_ns=1000, time_ns=500, tbt_ns=100) == 625


def test_a_step_lasts_until_the_first_stream_is_late_unless_it_is_late_anyway():
    assert policy.step_limit_ns(slack_ns=50, decode_ns=10) == 50
    assert policy.step_limit_ns(slack_ns=12, decode_ns=10) == 15
    assert policy.step_limit_ns(slack_ns=-99, decode_ns=10) == 15
