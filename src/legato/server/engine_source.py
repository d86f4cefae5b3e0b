"""The asynchronous engine seen as a token source, and its steps as metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import chain

from legato.async_engine import (
    RETRY_AFTER_S,
    AsyncEngine,
    EngineStats,
    LiveStats,
)
from legato.core import Request, Tenant, TokenEvent, TokenLogprobs
from legato.engine_jobs import Computed, Job
from legato.errors import CapacityError, OverloadedError
from legato.metrics.prometheus import EngineGauges, ServerMetrics
from legato.metrics.steps import DraftSample, StepSample
from legato.server.service import SourceStatus
from legato.server.text_scores import F32, Pooling, Scored, pooled, token_logprobs


class EngineSource:
    """A `TokenSource` that asks an `AsyncEngine`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def generate(self, request: Request) -> AsyncIterator[TokenEvent]:
        """The events of all samples; closing the iterator cancels the request."""
        return self._engine.generate(request)

    async def embed(
        self, token_ids: Sequence[int], pooling: Pooling, tenant: Tenant
    ) -> Scored[F32]:
        """One vector f32 [dim] for a text."""
        computed = await self._compute(
            lambda e: pooled(e.hidden_chunks(token_ids), pooling), tenant
        )
        return Scored(computed.pieces[-1], computed.machine_ns)

    async def score(
        self, token_ids: Sequence[int], count: int, tenant: Tenant
    ) -> Scored[list[TokenLogprobs]]:
        """Log-probabilities of all tokens of a text but the first."""
        computed = await self._compute(
            lambda e: token_logprobs(e.logits_chunks(token_ids), token_ids, count), tenant
        )
        return Scored(list(chain.from_iterable(computed.pieces)), computed.machine_ns)

    async def _compute(self, job: Job, tenant: Tenant) -> Computed:
        try:
            return await self._engine.compute(job, tenant)
        except CapacityError as error:  # of the moment: `Engine` refuses what can never fit before
            raise OverloadedError(str(error), RETRY_AFTER_S) from error

    def cancel(self, request_id: str, index: int) -> None:
        """End one sample."""
        self._engine.cancel(request_id, index)

    def status(self) -> SourceStatus:
        """The state now; takes no lock."""
        stats = self._engine.stats()
        return SourceStatus(alive=stats.alive, gauges=_gauges(stats))


def _gauges(stats: LiveStats) -> EngineGauges:
    engine = stats.engine
    return EngineGauges(
        running=engine.running,
        waiting=engine.waiting_requests,
        blocks_used=engine.used_blocks,
        blocks_cached=engine.cached_blocks,
        blocks_total=engine.free_blocks + engine.used_blocks + engine.cached_blocks,
        last_step_age_s=stats.last_step_age_s,
        oldest_waiting_s=stats.oldest_waiting_s,
    )


class StepObserver:
    """Puts every engine step into the metrics."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics
        self._before = EngineStats()

    def __call__(self, stats: EngineStats) -> None:
        """What the engine reports after a turn; one without a batch is no step."""
        before, self._before = self._before, stats
        if stats.steps != before.steps:
            self._metrics.steps.observe(_step_sample(before, stats))


def _step_sample(before: EngineStats, now: EngineStats) -> StepSample:
    return StepSample(
        duration_ns=now.step_duration_ns,
        predicted_ns=now.step_predicted_ns,
        decode_rows=now.step_decode_rows,
        draft_rows=now.step_draft_rows,
        prompt_rows=now.step_rows - now.step_decode_rows - now.step_draft_rows,
        sequences=now.step_sequences,
        flops=now.step_flops,
        bytes=now.step_bytes,
        peak_flops=now.peak_flops,
        peak_bandwidth=now.peak_bandwidth,
        error=now.prediction_error,
        factor=now.prediction_factor,
        fluidity=now.fluidity,
        deadlines_met=now.deadlines_met - before.deadlines_met,
        deadlines_missed=now.deadlines_missed - before.deadlines_missed,
        preemptions=now.preemptions - before.preemptions,
        prompt_tokens=now.prompt_tokens - before.prompt_tokens,
        cached_tokens=now.cached_prompt_tokens - before.cached_prompt_tokens,
        drafts=_drafts(before, now),
    )


def _drafts(before: EngineStats, now: EngineStats) -> DraftSample | None:
    """What became of drafts since `before`; None where nothing was drafted or looked for."""
    if now.speculation is before.speculation:
        return None
    new = now.speculation.since(before.speculation)
    return DraftSample(
        right=new.right,
        wrong=[tried - right for tried, right in zip(new.tried, new.right, strict=True)],
        drafter_ns=new.drafter_ns,
        taken_ns=now.draft_steps_ns - before.draft_steps_ns,
        predicted_ns=new.predicted_ns,
        undrafted_ns=new.plain_ns + new.earned_ns,
        undrafted_expected_ns=new.plain_ns + new.expected_ns,
    )
