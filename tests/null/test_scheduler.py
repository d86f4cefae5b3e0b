"""Batches from step to step: chunks, blocks that run out, siblings, drafts, ends."""

from __future__ import annotations

from scheduling import add, new_scheduler, shape, step

from legato.core import FinishReason
from legato.scheduler.batch import NO_TOKEN


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
