"""Continuous batching: sequences join and leave the batch at any step.

Every step runs all sequences that decode, one row each. Prompts share what is left of it in order
of rank: `max_batch_tokens` rows, and the time until the first running stream would be late. When
blocks run out, the last in rank goes back to the waiting ones and computes its tokens again later.
The first in rank always makes progress, so that everything ends.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterator, Mapping
from heapq import merge
from itertools import islice
from operator import attrgetter

from legato.core import Tenant, TokenEvent
from legato.kvcache.cache import KVCache
from legato.kvcache.integrity import check_integrity
from legato.kvcache.table import BlockTable
from legato.scheduler import policy
from legato.scheduler.batch import NO_DRAFTING, Batch, Choices
from legato.scheduler.budget import UNLIMITED, StepBudget, StepPlan
from legato.scheduler.drafts import Speculator, take_choices
from legato.scheduler.fairness import Shares, fair_order, over_share
from legato.scheduler.forecast import Load, load_of
from legato.scheduler.kept_prompts import KeptPrompts
from legato.scheduler.sequence import Sequence
from legato.scheduler.step_drafts import StepDrafts

_by_rank = attrgetter("rank")
Fault = tuple[Sequence, Exception]
Rows = dict[Sequence, int]
Copies = list[tuple[int, int]]


class Scheduler:
    """Waiting and running sequences, both in order of rank.

    Of the prompts that began so far, `cached_tokens` of all `prompt_tokens` were in the cache.

    What goes wrong with one sequence is noted in `faults` and ends nothing else; whoever drives
    the scheduler takes the sequences in `faults` out with `drop` before the next call.
    """

    def __init__(
        self,
        cache: KVCache,
        new_plan: Callable[[bool], StepPlan],
        *,
        max_batch_tokens: int,
        max_sequences: int,
        meet_deadlines: bool = True,
        speculator: Speculator | None = None,
    ) -> None:
        """`new_plan` predicts steps, told whether prompts are in them; with `meet_deadlines` they
        bound the prefill chunks.
        `speculator` drafts tokens for sequences that decode."""
        self.cache = cache
        self.kept = KeptPrompts(cache, max_sequences)
        self.drafts = StepDrafts(cache, speculator)
        self._new_plan = new_plan
        self._meet_deadlines = meet_deadlines
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.shares = Shares()
        self.num_preemptions = 0
        self.prompt_tokens = self.cached_tokens = 0
        self.faults: list[Fault] = []
        self._behind_since_ns: int | None = None  # since when prompts are always to be computed
        self._max_batch_tokens = max_batch_tokens
        self._max_running = min(max_sequences, max_batch_tokens)

    def add(self, sequence: Sequence) -> None:
        """Let `sequence` wait for its turn."""
        if not (self.running or self.waiting):
            self._behind_since_ns = None
        insort(self.waiting, sequence, key=_by_rank)
        self.shares.enter(sequence.request.tenant)

    def remove(self, sequence: Sequence) -> None:
        """End `sequence` and free what it holds."""
        sequence.finished = True
        self.drafts.forget(sequence)
        if sequence.table is None:
            self.waiting.remove(sequence)
        else:
            self._stop_running(sequence)
        self.shares.leave(sequence.request.tenant)

    def drop(self, sequences: Collection[Sequence]) -> None:
        """End `sequences` whose accounts may be wrong after a fault, and put the cache right."""
        for sequence in sequences:
            sequence.finished = True
            sequence.table = None
            self.drafts.forget(sequence)
        self.waiting = [s for s in self.waiting if s not in sequences]
        self.running = [s for s in self.running if s not in sequences]
        self.shares.recount(s.request.tenant for s in (*self.running, *self.waiting))
        self.faults.clear()
        self.kept.forget()
        self.cache.recover([s.table for s in self.running if s.table is not None])

    def schedule(self, now_ns: int) -> Batch:
        """The batch of the step that begins now; without sequences when there is nothing to do."""
        rows: Rows = {}
        copies: Copies = []
        drafting = NO_DRAFTING
        self._plan_decodes(rows)
        prefills = len(rows) < len(self.running) or self._may_enter()
        self._note_backlog(prefills, now_ns)
        drafts = self.drafts.wants(len(rows))
        if prefills or drafts:
            decodes = list(rows) if drafts else []
            budget = self._budget(rows, now_ns, prefills)
            if prefills:
                self._plan_prefills(rows, copies, budget)
            drafting = self.drafts.plan(rows, decodes, budget, self.faults)
        num_rows = list(rows.values())
        only_decodes = not prefills and sum(num_rows) == len(num_rows)
        return Batch(list(rows), num_rows, copies, only_decodes, drafting)

    def commit(self, batch: Batch, chosen: list[Choices], time_ns: int) -> list[TokenEvent]:
        """Take the result of a step: append tokens, release blocks, end what is finished."""
        events: list[TokenEvent] = []
        block_size = self.cache.block_size
        for sequence, rows, choices in zip(batch.sequences, batch.num_rows, chosen, strict=True):
            table, draft = sequence.table, sequence.draft
            assert table is not None
            try:
                new, accepted = take_choices(sequence, rows, choices, time_ns)
                if sequence.num_computed // block_size != table.num_full:
                    self.cache.advance(table, sequence.tokens, sequence.num_computed)
                self.drafts.verified(sequence, draft, accepted)
                if sequence.request.compute is not None:
                    self.kept.keep(sequence)
                if new and new[-1].finish_reason is not None:
                    self.remove(sequence)
                events += new
            except Exception as error:
                self.faults.append((sequence, error))
        return events

    def load(self, mean_output: float | None, unstarted: Mapping[Tenant, int]) -> Load:
        """What stands before a newcomer, if outputs have `mean_output` tokens on average and
        `unstarted` requests of each tenant have never run."""
        computed = self.prompt_tokens - self.cached_tokens
        return load_of(
            self.running,
            self.waiting,
            slots=self._max_running,
            mean_output=mean_output,
            miss_share=computed / self.prompt_tokens if self.prompt_tokens else 1.0,
            unstarted=unstarted,
            behind_since_ns=self._behind_since_ns if self.running or self.waiting else None,
        )

    def check_integrity(self) -> None:
        """AssertionError unless those that run, and only those and kept prompts, have a table of
        the cache."""
        check_integrity(self.cache)
        tables = {id(sequence.table) for sequence in self.running}
        tables.update(map(id, self.kept.tables))
        assert tables == {id(table) for table in self.cache.open_tables.values()}
        assert all(sequence.table is None for sequence in self.waiting)
        self.shares.check(s.request.tenant for s in (*self.running, *self.waiting))

    def _note_backlog(self, prefills: bool, now_ns: int) -> None:
        if not (prefills or self.waiting):
            self._behind_since_ns = None
        elif self._behind_since_ns is None:
            self._behind_since_ns = now_ns

    def _plan_decodes(self, rows: Rows) -> None:
        block_size = self.cache.block_size
        for sequence in tuple(self.running):
            table = sequence.table
            if table is None or sequence.num_tokens - sequence.num_computed != 1:
                continue
            if table.num_blocks * block_size > sequence.num_computed:
                rows[sequence] = 1
            elif count := self._make_room(sequence, 1, rows):
                rows[sequence] = count

    def _budget(self, decodes: Rows, now_ns: int, has_prompts: bool) -> StepBudget:
        members = list(decodes)

        def new_plan() -> StepPlan:
            plan = self._new_plan(has_prompts)
            for sequence in members:
                plan.add(1, sequence.num_computed, 1)
            return plan

        slack_ns = UNLIMITED
        if members and self._meet_deadlines:
            slack_ns = min(sequence.due_ns for sequence in members) - now_ns
        return StepBudget(self._max_batch_tokens - len(members), new_plan, slack_ns)

    def _plan_prefills(self, rows: Rows, copies: Copies, budget: StepBudget) -> None:
        """Give chunks to running and waiting sequences in their order."""
        running = {sequence: None for sequence in self.running if sequence not in rows}
        preemptions = self.num_preemptions
        blocked: set[Tenant] = set()
        for sequence in self._in_order(running, budget):
            waits, tenant = sequence not in running, sequence.request.tenant
            if waits and tenant in blocked:
                continue
            if budget.exhausted:
                return
            # Nobody overtakes the first who waits, nor those who just gave way.
            if waits and not (
                self._awaits_sibling(sequence)
                or (self.num_preemptions == preemptions and self._enter(sequence, rows, copies))
            ):
                blocked.add(tenant)
            if sequence.table is not None:
                self._give_chunk(sequence, rows, budget)

    def _in_order(self, running: Collection[Sequence], budget: StepBudget) -> Iterator[Sequence]:
        """Those who have prompt tokens to compute: `running`, and who waits if anybody may enter.
        In order of rank; the tenants' shares come first where there are several."""
        several = self.shares.several
        # More than there are rows cannot begin in one step, however many wait.
        most = len(self.waiting) if several else budget.rows
        waiting = tuple(islice(self.waiting, most)) if self._may_enter() else ()
        ranked = merge(running, waiting, key=_by_rank)
        if not several:
            return ranked
        return fair_order(ranked, self.shares.served, budget.cost_ns)

    @property
    def _is_full(self) -> bool:
        return len(self.running) >= self._max_running

    def _may_enter(self) -> bool:
        """Whether any of those who wait could run now."""
        if not self.waiting:
            return False
        if not self._is_full:
            return True
        firsts = self.waiting[:1]
        if self.shares.several:
            firsts = list({s.request.tenant: s for s in reversed(self.waiting)}.values())
        return any(self._yielder(first) is not None for first in firsts)

    def _yielder(self, newcomer: Sequence) -> Sequence | None:
        """Who is stopped so that `newcomer` can start, if anybody is."""
        rivals = self.running
        if self.shares.several:
            if (rich := over_share(rivals, newcomer)) is not None:
                return rich
            rivals = [s for s in rivals if s.request.tenant == newcomer.request.tenant]
        return rivals[-1] if rivals and policy.gives_way(rivals[-1], newcomer) else None

    def _give_chunk(self, sequence: Sequence, rows: Rows, budget: StepBudget) -> None:
        past, pending = sequence.num_computed, sequence.num_pending
        wanted = budget.chunk(pending, past)
        if wanted and (count := self._make_room(sequence, wanted, rows)):
            rows[sequence] = count
            budget.take(count, past, int(count == pending))

    def _make_room(self, sequence: Sequence, budget: int, rows: Rows) -> int:
        """Extend the table for up to `budget` pending rows, preempting whoever ranks behind.

        Returns the number of rows; 0 where `sequence` itself had to give way, or failed.
        """
        try:
            return self._extend(sequence, budget, rows)
        except Exception as error:
            self.faults.append((sequence, error))
            return 0

    def _extend(self, sequence: Sequence, budget: int, rows: Rows) -> int:
        while sequence.table is not None:
            room = self.cache.room(sequence.table) - sequence.num_computed
            count = policy.prefill_rows(budget, sequence.num_pending, room)
            if count:
                self.cache.extend(sequence.table, sequence.num_computed + count)
                return count
            if self.kept.give_up():
                continue
            victim = policy.choose_victim(self.running)
            if victim is None:
                return 0
            rows.pop(victim, None)
            self._preempt(victim)
        return 0

    def _enter(self, sequence: Sequence, rows: Rows, copies: Copies) -> bool:
        """Let a waiting sequence run, if there is room or others have to make it."""
        try:
            while self._is_full or not self._begin(sequence, copies):
                if (yielder := self._yielder(sequence)) is None:
                    return False
                rows.pop(yielder, None)
                self._preempt(yielder)
        except Exception as error:
            self.faults.append((sequence, error))
            return False
        self.waiting.remove(sequence)
        insort(self.running, sequence, key=_by_rank)
        return True

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
            self.prompt_tokens += sequence.num_prompt
            self.cached_tokens += sequence.num_computed
        return True

    def _begin(self, sequence: Sequence, copies: Copies) -> bool:
        """Give a waiting sequence a table; kept prompts make room for it, nobody else."""
        while not (self._fork(sequence, copies) or self._open(sequence)):
            if not self.kept.give_up():
                return False
        return True

    def _fork(self, sequence: Sequence, copies: Copies) -> bool:
        """Let a sample that has not run share its computed prompt; False if it cannot."""
        source, num_shared = self._computed_prompt(sequence)
        if source is None:
            return False
        if not self._may_admit(self.cache.fork_cost(num_shared) + self.cache.num_groups):
            return False
        sequence.table, pairs = self.cache.fork(source, num_shared)
        copies += pairs
        sequence.num_computed = num_shared
        sequence.cached_tokens = max((s.cached_tokens or 0) for s in sequence.siblings)
        return True

    def _computed_prompt(self, sequence: Sequence) -> tuple[BlockTable | None, int]:
        """Where the prompt of `sequence` can be shared, and how many tokens of it: all but the
        last, which is computed again for its logits, or the blocks that were kept."""
        if sequence.num_output:
            return None, 0
        sibling, num_shared = sequence.fork_source, sequence.num_prompt - 1
        if sibling and sibling.table and self.cache.can_fork(sibling.table, num_shared):
            return sibling.table, num_shared
        kept = self.kept.of(sequence)
        return kept, 0 if kept is None else kept.num_full * self.cache.block_size

    def _may_admit(self, needed: int) -> bool:
        cache = self.cache
        return policy.may_admit(cache.pool.available, needed, len(self.running), cache.num_groups)

    def _awaits_sibling(self, sequence: Sequence) -> bool:
        """Whether another sample is computing the prompt that `sequence` would share."""
        if sequence.num_output or sequence.fork_source or self.kept.of(sequence):
            return False
        return any(sibling.table is not None for sibling in sequence.siblings)

    def _preempt(self, sequence: Sequence) -> None:
        try:
            self._stop_running(sequence)
            self.shares.pause(sequence.request.tenant)
            self.add(sequence)
            self.num_preemptions += 1
        except Exception as error:
            self.faults.append((sequence, error))

    def _stop_running(self, sequence: Sequence) -> None:
        table = sequence.table
        assert table is not None
        self.running.remove(sequence)
        sequence.table = None
        sequence.num_computed = 0
        sequence.draft = ()
        self.cache.close(table)
