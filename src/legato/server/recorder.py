"""Puts what a generation did into the metrics and the call's record, however it ends."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from legato.metrics.prometheus import Outcome, ServerMetrics
from legato.server.calls import Call
from legato.server.generation import Generation


@dataclass(frozen=True, slots=True)
class Recorder:
    """A context around a running generation."""

    generation: Generation
    metrics: ServerMetrics
    call: Call

    def __enter__(self) -> None:
        """Nothing is recorded before the end."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Record; once a stream has begun its status no longer says how it ended."""
        if isinstance(error, Exception) and self.call.status is not None:
            self.call.outcome = Outcome.ERROR
        generation, timelines = self.generation, self.generation.timelines
        self.call.model = generation.service.model
        self.call.prompt_tokens = generation.prompt_tokens
        self.call.cached_tokens = generation.cached_tokens
        self.call.output_tokens = generation.output_tokens
        self.call.finish_reasons = generation.finish_reasons
        first = min(
            (timeline.stamps_ns[0] for timeline in timelines if timeline.stamps_ns), default=None
        )
        self.call.ttft_ns = None if first is None else first - generation.arrival_ns
        self.metrics.count_prompt(self.generation.prompt_tokens, self.generation.cached_tokens)
        self.metrics.machine.add(generation.machine_ns)
        for timeline in timelines:
            self.metrics.observe_sample(timeline)
