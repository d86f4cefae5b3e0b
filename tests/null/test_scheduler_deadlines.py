"""Who runs, and how many rows of a prompt, where tokens are due and requests differ in rank."""

from __future__ import annotations

from scheduling import FixedPlan, add, new_scheduler, shape, step

from legato.scheduler import policy
from legato.scheduler.scheduler import Scheduler
from legato.scheduler.sequence import Sequence


class SlowRows(FixedPlan):
    row_ns = 1.0


def slow_scheduler(**config) -> Scheduler:
    return new_scheduler(num_blocks=400, max_batch_tokens=400, new_plan=SlowRows, **config)


def stream_beside(scheduler: Scheduler, *prompts: int) -> Sequence:
    """A stream that decodes while prompts of these lengths wait."""
    (stream,) = add(scheduler, 1, length=10)
    step(scheduler)
    for number, length in enumerate(prompts, 2):
        add(scheduler, number, length=length)
    return stream


def test_a_prefill_leaves_the_streams_on_time():
    scheduler = slow_scheduler()
    stream = stream_beside(scheduler, 300)
    stream.due_ns = 60
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 59)]


def test_a_prefill_leaves_time_for_what_steps_take_longer_than_predicted():
    class SpreadRows(SlowRows):
        spread = 1.25

    scheduler = new_scheduler(num_blocks=400, max_batch_tokens=400, new_plan=SpreadRows)
    stream = stream_beside(scheduler, 300)
    stream.due_ns = 60 + 15
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 59)]


def test_a_prefill_fills_the_step_where_no_stream_runs():
    scheduler = slow_scheduler()
    add(scheduler, 1, length=390, due_ns=1)
    assert shape(step(scheduler)) == [("r1", 390)]


def test_a_prefill_goes_on_beside_streams_that_are_late():
    scheduler = slow_scheduler()
    stream = stream_beside(scheduler, 100, 100)
    for _ in range(3):
        stream.due_ns = -1000
        assert shape(step(scheduler)) == [("r1", 1), ("r2", policy.LEAST_CHUNK)]


def test_rest_of_the_time_goes_to_the_next_in_rank():
    scheduler = slow_scheduler()
    stream = stream_beside(scheduler, 30, 30)
    stream.due_ns = 41
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 30), ("r3", 10)]


def test_among_those_who_wait_the_earlier_deadline_goes_first():
    scheduler = new_scheduler(max_batch_tokens=20)
    add(scheduler, 1, due_ns=900)
    add(scheduler, 2, due_ns=400)
    add(scheduler, 3, due_ns=400)
    add(scheduler, 4, due_ns=999, priority=-1)
    order = [step(scheduler).sequences[-1].request.id for _ in range(2)]
    assert order == ["r4", "r2"]


def test_a_prompt_that_is_due_sooner_overtakes_one_in_progress():
    scheduler = new_scheduler(max_batch_tokens=16)
    add(scheduler, 1, length=60, due_ns=900)
    assert shape(step(scheduler)) == [("r1", 16)]
    add(scheduler, 2, length=10, due_ns=400)
    assert shape(step(scheduler)) == [("r2", 10), ("r1", 6)]


def test_a_better_priority_takes_the_place_of_a_running_sequence():
    scheduler = new_scheduler(max_sequences=2)
    for number in (1, 2):
        add(scheduler, number, priority=5)
    step(scheduler)
    add(scheduler, 3, priority=0)
    assert shape(step(scheduler)) == [("r1", 1), ("r3", 20)]
    assert [s.request.id for s in scheduler.waiting] == ["r2"]


def test_a_better_priority_takes_blocks_too():
    scheduler = new_scheduler(num_blocks=8)
    for number in (1, 2):
        add(scheduler, number, length=40, priority=5)
    step(scheduler)
    step(scheduler)
    add(scheduler, 3, length=60, priority=0)
    assert shape(step(scheduler)) == [("r1", 1), ("r3", 60)]


def test_equal_priority_waits_however_soon_it_is_due():
    scheduler = new_scheduler(max_sequences=1)
    add(scheduler, 1, due_ns=900)
    step(scheduler)
    add(scheduler, 2, due_ns=1)
    assert shape(step(scheduler)) == [("r1", 1)]
