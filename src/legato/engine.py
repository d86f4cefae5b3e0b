"""The engine: schedule → run → commit. Not thread-safe: one thread owns it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from collections.abc import Sequence as List
from functools import cached_property

import numpy as np

from legato.adaptive.waves import free_rows
from legato.admission import Admission, Limits
from legato.backends.base import F32, Backend
from legato.clock import Clock
from legato.config import EngineConfig
from legato.core import Request, TokenEvent
from legato.cost.machine import DEFAULT_PROFILE, MachineProfile
from legato.endings import Endings
from legato.errors import InvalidRequestError
from legato.figures import StepFigures
from legato.kvcache.cache import KVCache
from legato.live_requests import LiveRequests
from legato.program.program import Program
from legato.questions import Questions
from legato.runner import Runner
from legato.scheduler.batch import Batch, Choices
from legato.scheduler.drafts import Speculator
from legato.scheduler.forecast import Load as Load
from legato.scheduler.forecast import OutputLengths, Urgency
from legato.scheduler.scheduler import Scheduler
from legato.scheduler.stats import EngineStats as EngineStats
from legato.scheduler.stats import SpeculationFigures as SpeculationFigures
from legato.scoring import MAX_LOGITS_BYTES, ROWS_BESIDE, RowsOf, score
from legato.step_times import FULL_DEPTH, PricedStep, StepTimes, split_ns

_log = logging.getLogger(__name__)


class Engine:
    """Continues requests token by token on one backend.

    What goes wrong with one request ends that request with an error event. A step that fails in
    the backend ends the requests that took part in it. The engine goes on with the others.

    Attributes:
        backend: what its steps run on.
        vocab_size, max_context: token ids, and most tokens of a sequence.
    """

    def __init__(
        self,
        program: Program,
        backend: Backend,
        config: EngineConfig,
        clock: Clock,
        eos_ids: frozenset[int],
        *,
        profile: MachineProfile = DEFAULT_PROFILE,
        speculator: Speculator | None = None,
        draw_seed: Callable[[], int] = lambda: secrets.randbits(64),
    ) -> None:
        """`config.num_kv_blocks` must be set (see `kvcache.sizing`); the pool is made here.

        Args:
            eos_ids: tokens that end a sequence.
            profile: what steps take on this machine.
            speculator: drafts tokens (see `speculative`); None drafts nothing.
            draw_seed: gives the seed (64 bits) of a request that brings none.
        """
        context = min(config.max_context or program.max_context, program.max_context)
        self._cache = _new_cache(program, config, context)
        backend.allocate_kv(config.num_kv_blocks)
        self._limits = _limits(program, self._cache, context)
        self.backend = backend
        self._config = config
        self._clock = clock
        self._runner = Runner(
            backend, self._cache.tables, program.kv.block_size, program.vocab_size
        )
        self._times = StepTimes(program, profile, config)
        self._scheduler = _new_scheduler(self._cache, self._times, config, speculator)
        self._admission = Admission(config, self._times, self._limits, eos_ids, draw_seed)
        self._live = LiveRequests()
        self._questions = self._new_questions()
        self._lengths = OutputLengths()
        self._endings = Endings(self._scheduler, self._live, self._questions, clock)
        self._figures = StepFigures(self._times)

    @property
    def vocab_size(self) -> int:
        """Token ids are below it."""
        return self._limits.vocab_size

    @property
    def max_context(self) -> int:
        """Most tokens of a sequence, prompt and output."""
        return self._limits.max_context

    @property
    def has_work(self) -> bool:
        """Whether another step is needed."""
        return bool(self._live or self._endings.events)

    def check(self, request: Request) -> None:
        """Raise what `add` would raise, except for a repeated id. Safe in any thread.

        Raises:
            InvalidRequestError: a field is out of range, or the prompt is too long.
            CapacityError: the prompt can never fit into the KV pool.
        """
        self._admission.check(request)

    def check_load(self, request: Request, load: Load, rows_before: int = 0) -> None:
        """OverloadedError where `load` puts the first token of `request` out of reach.

        Args:
            load: what `load` gave lately.
            rows_before: prompt tokens of requests that came since then.

        `add` does not ask for it: who calls the engine decides. Safe in any thread.
        """
        self._admission.check_load(request, load, rows_before, self._clock.now_ns())

    def urgency(self, request: Request) -> Urgency:
        """Where `request` stands among those that wait, if it comes now. Safe in any thread."""
        return self._admission.urgency(request, self._clock.now_ns())

    def load(self) -> Load:
        """What stands before a newcomer now."""
        return self._scheduler.load(self._lengths.mean, self._live.unstarted())

    def add(self, request: Request) -> None:
        """Queue `request`. Its output is capped to what context and KV pool hold.

        Raises what `check` raises, and InvalidRequestError where a live request has this id.
        """
        self.check(request)
        if request.id in self._live or request.id in self._questions:
            raise InvalidRequestError(f"a live request has the id {request.id!r} already", "id")
        now_ns = self._clock.now_ns()
        samples = self._admission.samples(request, now_ns)
        if request.compute is not None:
            samples = self._questions.begin(samples[0], now_ns)
        try:
            self._live.add(samples, now_ns)
            for sequence in samples:
                self._scheduler.add(sequence)
        except BaseException:
            self._live.discard(request.id)
            self._questions.discard(request.id)
            self._scheduler.drop(samples)
            raise

    def cancel(self, request_id: str, index: int | None = None) -> None:
        """End a request, or one of its samples, and free its blocks now.

        The next step gives the CANCELLED events. Nothing happens where it has ended already. A
        request that decides about its samples ends as a whole.
        """
        self._endings.cancel(request_id, index)

    def resume(self, request_id: str) -> None:
        """Let a request go on whose controller holds; nothing happens to others."""
        self._endings.events += self._questions.resume(request_id, self._clock.now_ns())

    def step(self) -> list[TokenEvent]:
        """One step: schedule → run → commit. The events of all requests that it touched."""
        batch = Batch()
        try:
            start_ns = self._clock.now_ns()
            batch = self._schedule(start_ns)
            if batch.sequences:
                self._run(batch, start_ns)
        except Exception as error:
            _log.exception("a step of %d sequences failed", len(batch.sequences))
            self._figures.failed_steps += 1
            self._endings.fail(batch.sequences or list(self._live), error)
        events, self._endings.events = self._endings.events, []
        return events

    def logits(self, token_ids: List[int]) -> F32:
        """Next-token logits f32 [len, vocab] at every position of `token_ids`.

        Uses blocks of its own for the time of the call; live requests are not disturbed.

        Raises:
            InvalidRequestError: no tokens, an id out of range, or more than the context.
            CapacityError: live requests leave too few blocks.
        """
        return np.concatenate(list(self.logits_chunks(token_ids)))

    def hidden(self, token_ids: List[int]) -> F32:
        """Hidden states f32 [len, dim] after the last norm, otherwise like `logits`."""
        return np.concatenate(list(self.hidden_chunks(token_ids)))

    def logits_chunks(self, token_ids: List[int]) -> Iterator[F32]:
        """`logits` in chunks of rows, in order; steps may be taken in between.

        Only one such iterator may be open at a time. See `scoring.score`.
        """
        most = max(1, MAX_LOGITS_BYTES // (4 * self.vocab_size))
        return self._score(token_ids, self._runner.logits, most)

    def hidden_chunks(self, token_ids: List[int]) -> Iterator[F32]:
        """`hidden` in chunks, otherwise like `logits_chunks`."""
        return self._score(token_ids, self._runner.hidden, self._config.max_batch_tokens)

    def _score(self, token_ids: List[int], rows_of: RowsOf, most: int) -> Iterator[F32]:
        tokens = self._admission.scored_tokens(token_ids)
        alone = min(most, self._config.max_batch_tokens)
        beside = min(alone, ROWS_BESIDE)
        return score(tokens, self._cache, rows_of, lambda: beside if self.has_work else alone)

    def stats(self) -> EngineStats:
        """Figures as of now."""
        scheduler, pool = self._scheduler, self._cache.pool
        return EngineStats(
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            waiting_requests=self._live.num_unstarted,
            oldest_waiting_ns=self._live.oldest_unstarted_ns,
            free_blocks=pool.num_free,
            used_blocks=pool.num_used,
            cached_blocks=pool.num_cached,
            preemptions=scheduler.num_preemptions,
            speculation=scheduler.drafts.figures,
            prompt_tokens=scheduler.prompt_tokens,
            cached_prompt_tokens=scheduler.cached_tokens,
            **self._figures.fields(),
        )

    def check_integrity(self) -> None:
        """AssertionError unless all blocks and sequences are accounted for."""
        self._scheduler.check_integrity()
        self._live.check_integrity(self._scheduler.running, self._scheduler.waiting)

    def close(self) -> None:
        """Release the backend, and the draft's."""
        self._scheduler.drafts.close()
        self.backend.close()

    def _new_questions(self) -> Questions:
        return Questions(
            self._scheduler,
            self._live,
            longest=self._limits.pool_context,
            free_rows=lambda: self._free_rows,
        )

    @cached_property
    def _free_rows(self) -> int:
        most = self._config.max_sequences
        return free_rows(lambda rows: self._times.decode_ns(rows, FULL_DEPTH), most)

    def _schedule(self, now_ns: int) -> Batch:
        batch = self._scheduler.schedule(now_ns)
        if self._scheduler.faults:
            self._endings.fail_faulty(tuple(self._scheduler.faults))
            batch.leave_out_finished()
        return batch

    def _run(self, batch: Batch, start_ns: int) -> None:
        self._live.start(batch.sequences, start_ns)
        step = self._times.price(batch)
        try:
            chosen = self._runner.run(batch)
        finally:
            end_ns = self._account(batch, step, start_ns)
        self._times.observe(step, end_ns - start_ns - batch.drafting.measured_ns)
        self._commit(batch, chosen, end_ns)

    def _account(self, batch: Batch, step: PricedStep, start_ns: int) -> int:
        """The step has ended, well or not: divide its time among those that took part."""
        end_ns = self._clock.now_ns()
        shares = split_ns(end_ns - start_ns, step.parts)
        for sequence, share in zip(batch.sequences, shares, strict=True):
            sequence.machine_ns += share
        self._scheduler.shares.charge_step(batch.sequences, shares)
        self._figures.record(batch, step, start_ns, end_ns)
        return end_ns

    def _commit(self, batch: Batch, chosen: list[Choices], now_ns: int) -> None:
        events = self._scheduler.commit(batch, chosen, now_ns)
        ended = [
            self._live.forget(event.request_id, event.index)
            for event in events
            if event.finish_reason is not None
        ]
        faults = tuple(self._scheduler.faults)
        faulty = {sequence.request.id for sequence, _ in faults}
        unjudged = self._questions.take(events, now_ns, faulty, self._endings.events)
        self._lengths.observe(len(events), len(ended))
        self._figures.committed(len(events), ended)
        for request_id, error in unjudged:
            self._endings.fail_question(request_id, error)
        self._endings.fail_faulty(faults)


def _new_cache(program: Program, config: EngineConfig, context: int) -> KVCache:
    """The KV cache of an engine whose sequences have at most `context` tokens."""
    return KVCache(
        program.kv,
        config.num_kv_blocks,
        # as many again for kept prompts, and one for `logits` and `hidden`
        num_slots=2 * config.max_sequences + 1,
        max_tokens=context,
        prefix_cache=config.prefix_cache,
    )


def _limits(program: Program, cache: KVCache, context: int) -> Limits:
    """What a sequence may be, by the model and by the pool."""
    return Limits(
        vocab_size=program.vocab_size,
        max_context=context,
        pool_context=min(context, cache.longest_sequence()),
    )


def _new_scheduler(
    cache: KVCache, times: StepTimes, config: EngineConfig, speculator: Speculator | None
) -> Scheduler:
    return Scheduler(
        cache,
        times.plan,
        max_batch_tokens=config.max_batch_tokens,
        max_sequences=config.max_sequences,
        meet_deadlines=config.scheduling == "deadline",
        speculator=speculator,
    )
