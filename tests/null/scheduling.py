"""A scheduler without an engine: what tests put in, step and look at."""

from __future__ import annotations

from fake_backend import fake_program, make_request

from legato.kvcache.cache import KVCache
from legato.kvcache.integrity import check_integrity
from legato.scheduler.batch import Batch
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
