from __future__ import annotations

import pytest
from fake_backend import fake_program, make_request

from legato.core import FinishReason
from legato.kvcache.cache import KVCache
from legato.kvcache.integrity import check_integrity
from legato.scheduler import policy
from legato.scheduler.batch import NO_TOKEN, Batch
from legato.scheduler.scheduler import Scheduler
from legato.scheduler.sequence import Sequence, make_samples


class FixedPlan:
    """A step takes `row_ns` for every row."""

    row_ns = 0.0
    spread = 1.0

    def __init__(self, has_prompts: bool = True) -> None:
        self.rows = 0

    def add(self, rows: int, past: int, outputs: int) -> None:
        self.rows += rows

    def ns(self) -> float:
        return self.rows * self.row_ns

    def ns_with(self, rows: int, past: int, outputs: int) -> float:
        return (self.rows + rows) * self.row_ns


def new_scheduler(
    num_blocks=60, max_batch_tokens=64, max_sequences=4, windows=(None,), new_plan=None
):
    cache = KVCache(
        fake_program(windows).kv, num_blocks, num_slots=8, max_tokens=512, prefix_cache=True
    )
    return Scheduler(
        cache, new_plan or FixedPlan, max_batch_tokens=max_batch_tokens, max_sequences=max_sequences
    )


def new_samples(
    number: int, length: int = 20, priority: int = 0, n: int = 1, due_ns: int = 10**9
) -> list[Sequence]:
    request = make_request(f"r{number}", length, start=number, priority=priority, n=n)
    return make_samples(
        request,
        arrival=number,
        seed=0,
        due_ns=due_ns,
        tbt_ns=100,
        length_limit=length + 100,
        stop_ids=frozenset({3}),
    )


def add(scheduler: Scheduler, *args, **kwargs) -> list[Sequence]:
    samples = new_samples(*args, **kwargs)
    for sample in samples:
        scheduler.add(sample)
    return samples


def step(scheduler: Scheduler, token: int = 9, time_ns: int = 0) -> Batch:
    """Schedule and commit, with `token` for every sequence that is due one."""
    batch = scheduler.schedule(time_ns)
    due = [
        ((token, None),) if s.num_computed + rows == s.num_tokens else ()
        for s, rows in zip(batch.sequences, batch.num_rows, strict=True)
    ]
    scheduler.commit(batch, due, time_ns=time_ns)
    check_integrity(scheduler.cache)
    return batch


def shape(batch: Batch) -> list[tuple[str, int]]:
    return [(s.request.id, n) for s, n in zip(batch.sequences, batch.num_rows, strict=True)]


def test_a_prefill_is_cut_into_chunks_and_runs_beside_decodes():
    scheduler = new_scheduler(max_batch_tokens=16)
    add(scheduler, 1, length=10)
    assert shape(step(scheduler)) == [("r1", 10)]
    add(scheduler, 2, length=40)
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 15)]
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 15)]
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 10)]
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 1)]


def test_a_step_never_exceeds_its_rows_nor_its_sequences():
    scheduler = new_scheduler(max_batch_tokens=20, max_sequences=3)
    for number in range(6):
        add(scheduler, number, length=30)
    for _ in range(12):
        batch = step(scheduler)
        assert sum(batch.num_rows) <= 20
        assert len(scheduler.running) <= 3


def test_a_newcomer_joins_as_soon_as_somebody_leaves():
    scheduler = new_scheduler(max_sequences=1)
    add(scheduler, 1)
    add(scheduler, 2)
    step(scheduler)
    step(scheduler, token=3)
    assert shape(step(scheduler)) == [("r2", 20)]


def test_the_better_rank_goes_first():
    scheduler = new_scheduler(max_batch_tokens=20)
    add(scheduler, 1, priority=1)
    add(scheduler, 2)
    assert shape(step(scheduler)) == [("r2", 20)]


def test_when_blocks_run_out_the_last_in_rank_gives_way_and_comes_back():
    scheduler = new_scheduler(num_blocks=6)
    (first,) = add(scheduler, 1, length=30)
    (last,) = add(scheduler, 2, length=30)
    step(scheduler)
    while not scheduler.num_preemptions:
        step(scheduler)
    assert last.table is None
    assert last.num_output > 0
    assert scheduler.waiting == [last]
    assert shape(step(scheduler)) == [("r1", 1)]
    scheduler.remove(first)
    kept = last.num_tokens
    assert step(scheduler).sequences == [last]
    assert last.num_tokens == kept + 1


def test_a_higher_priority_is_never_preempted_for_a_lower_one():
    scheduler = new_scheduler(num_blocks=6)
    (low,) = add(scheduler, 1, length=30, priority=1)
    (high,) = add(scheduler, 2, length=30, priority=0)
    while not scheduler.num_preemptions:
        step(scheduler)
    assert low.table is None
    assert high.table is not None


def test_nobody_overtakes_a_request_that_waits_for_blocks():
    scheduler = new_scheduler(num_blocks=6)
    add(scheduler, 1, length=60)
    add(scheduler, 2, length=60)
    add(scheduler, 3, length=4)
    for _ in range(3):
        assert shape(step(scheduler))[1:] == []


def test_siblings_wait_for_the_prompt_and_then_fork():
    scheduler = new_scheduler(max_batch_tokens=16)
    add(scheduler, 1, length=20, n=3)
    assert shape(step(scheduler)) == [("r1", 16)]
    assert shape(step(scheduler)) == [("r1", 4)]
    batch = step(scheduler)
    assert shape(batch) == [("r1", 1)] * 3
    assert len(batch.copies) == 2
    assert len({source for source, _ in batch.copies}) == 1


def test_a_sibling_runs_by_itself_when_the_first_has_ended():
    scheduler = new_scheduler(max_sequences=1)
    samples = add(scheduler, 1, length=20, n=2)
    step(scheduler)
    scheduler.remove(samples[0])
    batch = step(scheduler)
    assert batch.sequences == [samples[1]]
    assert batch.copies == []


def test_commit_takes_several_tokens_and_stops_at_the_end():
    scheduler = new_scheduler()
    (sequence,) = add(scheduler, 1)
    batch = scheduler.schedule(0)
    sequence.draft = (9, 8, 3)
    batch.num_rows[0] += 3
    events = scheduler.commit(batch, [((9, None), (8, None), (3, None), (7, None))], time_ns=5)
    assert [event.token_id for event in events] == [9, 8, 3]
    assert events[-1].finish_reason is FinishReason.STOP
    assert not scheduler.running


def test_commit_ends_a_draft_at_its_first_wrong_token():
    scheduler = new_scheduler()
    (sequence,) = add(scheduler, 1)
    batch = scheduler.schedule(0)
    sequence.draft = (9, 8, 3)
    batch.num_rows[0] += 3
    events = scheduler.commit(batch, [((9, None), (5, None), (3, None), (7, None))], time_ns=5)
    assert [event.token_id for event in events] == [9, 5]
    assert sequence.tokens[-2:].tolist() == [9, 5]
    assert sequence.num_computed == sequence.num_tokens - 1
    assert sequence.draft == ()


def test_no_token_ends_the_sequence_with_an_error():
    scheduler = new_scheduler()
    (sequence,) = add(scheduler, 1)
    (event,) = scheduler.commit(scheduler.schedule(0), [((NO_TOKEN, None),)], time_ns=5)
    assert event.finish_reason is FinishReason.ERROR
    assert event.token_id is None
    assert sequence.finished


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


class SlowRows(FixedPlan):
    row_ns = 1.0


def slow_scheduler(**config) -> Scheduler:
    return new_scheduler(num_blocks=400, max_batch_tokens=400, new_plan=SlowRows, **config)


def test_a_prefill_leaves_the_streams_on_time():
    scheduler = slow_scheduler()
    (stream,) = add(scheduler, 1, length=10)
    step(scheduler)
    add(scheduler, 2, length=300)
    stream.due_ns = 60
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 59)]


def test_a_prefill_leaves_time_for_what_steps_take_longer_than_predicted():
    class SpreadRows(SlowRows):
        spread = 1.25

    scheduler = new_scheduler(num_blocks=400, max_batch_tokens=400, new_plan=SpreadRows)
    (stream,) = add(scheduler, 1, length=10)
    step(scheduler)
    add(scheduler, 2, length=300)
    stream.due_ns = 60 + 15
    assert shape(step(scheduler)) == [("r1", 1), ("r2", 59)]


def test_a_prefill_fills_the_step_where_no_stream_runs():
    scheduler = slow_scheduler()
    add(scheduler, 1, length=390, due_ns=1)
    assert shape(step(scheduler)) == [("r1", 390)]


def test_a_prefill_goes_on_beside_streams_that_are_late():
    scheduler = slow_scheduler()
    (stream,) = add(scheduler, 1, length=10)
    step(scheduler)
    add(scheduler, 2, length=100)
    add(scheduler, 3, length=100)
    for _ in range(3):
        stream.due_ns = -1000
        assert shape(step(scheduler)) == [("r1", 1), ("r2", policy.LEAST_CHUNK)]


def test_rest_of_the_time_goes_to_the_next_in_rank():
    scheduler = slow_scheduler()
    (stream,) = add(scheduler, 1, length=10)
    step(scheduler)
    add(scheduler, 2, length=30)
    add(scheduler, 3, length=30)
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
