"""Continuous batching: sequences join and leave the batch at any step.

Every step runs all running sequences: one row each for those that decode, and chunks of the
prompt for the others, within `max_batch_tokens` rows. When blocks run out, the last in rank goes
back to the waiting ones and computes its tokens again later. The first in rank always makes
progress, so that everything ends.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection
from operator import attrgetter

from legato.core import FinishReason, TokenEvent
from legato.kvcache.cache import KVCache
from legato.scheduler import policy
from legato.scheduler.batch import NO_TOKEN, Batch, Choice, Choices
from legato.scheduler.sequence import Sequence

_by_rank = attrgetter("rank")
Fault = tuple[Sequence, Exception]
NO_TOKEN_MESSAGE = (
    "no token could be chosen: the logits are not finite, or the request forbids every token"
)


class Scheduler:
    """Waiting and running sequences, both in order of rank.

    What goes wrong with one sequence is noted in `faults` and ends nothing else; whoever drives
    the scheduler takes the sequences in `faults` out with `drop` before the next call.
    """

    def __init__(self, cache: KVCache, *, max_batch_tokens: int, max_sequences: int) -> None:
        self.cache = cache
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.num_preemptions = 0
        self.faults: list[Fault] = []
        self._max_batch_tokens = max_batch_tokens
        self._max_running = min(max_sequences, max_batch_tokens)

    def add(self, sequence: Sequence) -> None:
        """Let `sequence` wait for its turn."""
        insort(self.waiting, sequence, key=_by_rank)

    def remove(self, sequence: Sequence) -> None:
        """End `sequence` and free what it holds."""
        sequence.finished = True
        if sequence.table is None:
            self.waiting.remove(sequence)
        else:
            self._stop_running(sequence)

    def drop(self, sequences: Collection[Sequence]) -> None:
        """End `sequences` whose accounts may be wrong after a fault, and put the cache right."""
        for sequence in sequences:
            sequence.finished = True
            sequence.table = None
        self.waiting = [s for s in self.waiting if s not in sequences]
        self.running = [s for s in self.running if s not in sequences]
        self.faults.clear()
        self.cache.recover([s.table for s in self.running if s.table is not None])

    def schedule(self) -> Batch:
        """The next step's batch; without sequences when there is nothing to do."""
        rows: dict[Sequence, int] = {}
        copies: list[tuple[int, int]] = []
        self._plan_decodes(rows)
        self._plan_prefills(rows)
        self._admit(rows, copies)
        return Batch(list(rows), list(rows.values()), copies)

    def commit(self, batch: Batch, chosen: list[Choices], time_ns: int) -> list[TokenEvent]:
        """Take the result of a step: append tokens, release blocks, end what is finished."""
        events: list[TokenEvent] = []
        block_size = self.cache.block_size
        for sequence, rows, choices in zip(batch.sequences, batch.num_rows, chosen, strict=True):
            table = sequence.table
            assert table is not None
            try:
                sequence.num_computed += rows
                if sequence.num_computed // block_size != table.num_full:
                    self.cache.advance(table, sequence.tokens, sequence.num_computed)
                for choice in choices:
                    event = _append(sequence, choice, time_ns)
                    if event.finish_reason is not None:
                        self.remove(sequence)
                    events.append(event)
                    if event.finish_reason is not None:
                        break
            except Exception as error:
                self.faults.append((sequence, error))
        return events

    def _plan_decodes(self, rows: dict[Sequence, int]) -> None:
        block_size = self.cache.block_size
        for sequence in tuple(self.running):
            table = sequence.table
            if table is None or sequence.num_tokens - sequence.num_computed != 1:
                continue
            if table.num_blocks * block_size > sequence.num_computed:
                rows[sequence] = 1
            elif count := self._make_room(sequence, 1, rows):
                rows[sequence] = count

    def _plan_prefills(self, rows: dict[Sequence, int]) -> None:
        for sequence in [s for s in self.running if s not in rows]:
            budget = self._max_batch_tokens - sum(rows.values())
            if sequence.table is None or budget <= 0:
                continue
            if count := self._make_room(sequence, budget, rows):
                rows[sequence] = count

    def _make_room(self, sequence: Sequence, budget: int, rows: dict[Sequence, int]) -> int:
        """Extend the table for up to `budget` pending rows, preempting whoever ranks behind.

        Returns the number of rows; 0 where `sequence` itself had to give way, or failed.
        """
        try:
            return self._extend(sequence, budget, rows)
        except Exception as error:
            self.faults.append((sequence, error))
            return 0

    def _extend(self, sequence: Sequence, budget: int, rows: dict[Sequence, int]) -> int:
        while sequence.table is not None:
            room = self.cache.room(sequence.table) - sequence.num_computed
            count = policy.prefill_rows(budget, sequence.num_pending, room)
            if count:
                self.cache.extend(sequence.table, sequence.num_computed + count)
                return count
            victim = policy.choose_victim(self.running, sequence)
            if victim is None:
                return 0
            rows.pop(victim, None)
            self._preempt(victim)
        return 0

    def _admit(self, rows: dict[Sequence, int], copies: list[tuple[int, int]]) -> None:
        budget = self._max_batch_tokens - sum(rows.values())
        for sequence in tuple(self.waiting):
            if budget <= 0 or len(self.running) >= self._max_running:
                return
            if _awaits_sibling(sequence):
                continue
            try:
                if not (self._fork(sequence, copies) or self._open(sequence)):
                    return  # nobody overtakes the first in rank
            except Exception as error:
                self.faults.append((sequence, error))
                continue
            self.waiting.remove(sequence)
            insort(self.running, sequence, key=_by_rank)
            count = self._make_room(sequence, budget, rows)
            if count:
                rows[sequence] = count
                budget -= count

    def _open(self, sequence: Sequence) -> bool:
        """Give a waiting sequence a table, if there is room for all of its tokens."""
        hit = self.cache.lookup(sequence.tokens, sequence.request.cache_salt, sequence.digests)
        peak = self.cache.blocks_for(sequence.num_tokens, self._max_batch_tokens)
        needed = max(peak - hit.num_blocks, self.cache.num_groups) + hit.num_idle
        if not self._may_admit(needed):
            return False
        sequence.table = self.cache.open(sequence.request.cache_salt, hit)
        sequence.num_computed = len(hit.nodes) * self.cache.block_size
        if sequence.cached_tokens is None:
            sequence.cached_tokens = sequence.num_computed
        return True

    def _fork(self, sequence: Sequence, copies: list[tuple[int, int]]) -> bool:
        """Let a sample that has not run share the prompt of a sibling; False if none can."""
        num_shared = sequence.num_prompt - 1  # the last one is computed again, for its logits
        source = _fork_source(sequence)
        if source is None or source.table is None or sequence.num_output:
            return False
        needed = self.cache.fork_cost(num_shared) + self.cache.num_groups
        if not (self.cache.can_fork(source.table, num_shared) and self._may_admit(needed)):
            return False
        sequence.table, pairs = self.cache.fork(source.table, num_shared)
        copies += pairs
        sequence.num_computed = num_shared
        sequence.cached_tokens = source.cached_tokens
        return True

    def _may_admit(self, needed: int) -> bool:
        cache = self.cache
        return policy.may_admit(cache.pool.available, needed, len(self.running), cache.num_groups)

    def _preempt(self, sequence: Sequence) -> None:
        try:
            self._stop_running(sequence)
        except Exception as error:
            self.faults.append((sequence, error))
            return
        self.add(sequence)
        self.num_preemptions += 1

    def _stop_running(self, sequence: Sequence) -> None:
        table = sequence.table
        assert table is not None
        self.running.remove(sequence)
        sequence.table = None
        sequence.num_computed = 0
        self.cache.close(table)


def _append(sequence: Sequence, choice: Choice, time_ns: int) -> TokenEvent:
    token, logprobs = choice
    is_first = not sequence.num_output
    if token == NO_TOKEN:
        return end_event(sequence, time_ns, FinishReason.ERROR, sequence.fault or NO_TOKEN_MESSAGE)
    sequence.append(token)
    reason = policy.finish_reason(sequence, token)
    if sequence.matcher is not None and reason is None:
        sequence.matcher.accept(token)
    return TokenEvent(
        request_id=sequence.request.id,
        index=sequence.index,
        token_id=token,
        time_ns=time_ns,
        logprobs=logprobs,
        finish_reason=reason,
        cached_tokens=(sequence.cached_tokens or 0) if is_first else 0,
        started_ns=sequence.started_ns if is_first else None,
    )


def end_event(
    sequence: Sequence, time_ns: int, reason: FinishReason, error: str | None = None
) -> TokenEvent:
    """The last event of a sequence that ends without a token."""
    return TokenEvent(
        request_id=sequence.request.id,
        index=sequence.index,
        token_id=None,
        time_ns=time_ns,
        finish_reason=reason,
        error=error,
    )


def _awaits_sibling(sequence: Sequence) -> bool:
    """Whether another sample is computing the prompt that `sequence` would share."""
    if sequence.num_output or _fork_source(sequence) is not None:
        return False
    return any(sibling.table is not None for sibling in sequence.siblings)


def _fork_source(sequence: Sequence) -> Sequence | None:
    """A running sample of the same request whose prompt is computed."""
    for sibling in sequence.siblings:
        if sibling.table is not None and sibling.num_computed >= sibling.num_prompt:
            return sibling
    return None
