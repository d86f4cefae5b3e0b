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


def new_scheduler(num_blocks=60, max_batch_tokens=64, max_sequences=4, windows=(None,)):
    cache = KVCache(
        fake_program(windows).kv, num_blocks, num_slots=8, max_tokens=512, prefix_cache=True
    )
    return Scheduler(cache, max_batch_tokens=max_batch_tokens, max_sequences=max_sequences)


def new_samples(number: int, length: int = 20, priority: int = 0, n: int = 1) -> list[Sequence]:
    request = make_request(f"r{number}", length, start=number, priority=priority, n=n)
    return make_samples(
        request,
        arrival=number,
        seed=0,
        length_limit=length + 100,
        stop_ids=frozenset({3}),
    )


def add(scheduler: Scheduler, *args, **kwargs) -> list[Sequence]:
    samples = new_samples(*args, **kwargs)
    for sample in samples:
        scheduler.add(sample)
    return samples


def step(scheduler: Scheduler, token: int = 9) -> Batch:
    """Schedule and commit, with `token` for every sequence that is due one."""
    batch = scheduler.schedule()
    due = [
        ((token, None),) if s.num_computed + rows == s.num_tokens else ()
        for s, rows in zip(batch.sequences, batch.num_rows, strict=True)
    ]
    scheduler.commit(batch, due, time_ns=1)
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
    add(scheduler, 1)
    batch = scheduler.schedule()
    events = scheduler.commit(batch, [((9, None), (8, None), (3, None), (7, None))], time_ns=5)
    assert [event.token_id for event in events] == [9, 8, 3]
    assert events[-1].finish_reason is FinishReason.STOP
    assert not scheduler.running


def test_no_token_ends_the_sequence_with_an_error():
    scheduler = new_scheduler()
    (sequence,) = add(scheduler, 1)
    (event,) = scheduler.commit(scheduler.schedule(), [((NO_TOKEN, None),)], time_ns=5)
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
    assert policy.choose_victim([a, b], a) is b
    assert policy.choose_victim([a, b], b) is b
    assert policy.choose_victim([a], a) is None


def test_reasons_to_finish():
    (sequence,) = new_samples(1)
    sequence.append(5)
    assert policy.finish_reason(sequence, 5) is None
    assert policy.finish_reason(sequence, 3) is FinishReason.STOP
    for _ in range(99):
        sequence.append(5)
    assert policy.finish_reason(sequence, 5) is FinishReason.LENGTH
