"""What the steps of one engine came to: the running account behind its statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from legato.scheduler.batch import Batch
from legato.scheduler.sequence import Sequence
from legato.step_times import PricedStep, StepTimes


class StepFigures:
    """Totals since the start, and the last step. `fields` are those of `EngineStats`."""

    def __init__(self, times: StepTimes) -> None:
        self._times = times
        self._last: dict[str, Any] = {}
        self.steps = self.tokens = self.failed_steps = 0
        self.deadlines_met = self.deadlines_missed = 0
        self.draft_steps_ns = 0
        self.fluidity: tuple[float, ...] = ()

    def record(self, batch: Batch, step: PricedStep, start_ns: int, end_ns: int) -> None:
        """A step of `batch` ran, well or not."""
        decodes = sum(sequence.num_pending == 1 for sequence in batch.sequences)
        rows = sum(batch.num_rows)
        drafted = sum(len(sequence.draft) for sequence in batch.sequences)
        self.steps += 1
        self.draft_steps_ns += end_ns - start_ns if drafted else 0
        self.fluidity = ()
        self._last = {
            "last_step_ns": end_ns,
            "step_duration_ns": end_ns - start_ns,
            "step_predicted_ns": step.predicted_ns,
            "step_rows": rows,
            "step_decode_rows": decodes,
            "step_draft_rows": drafted,
            "step_sequences": len(batch.sequences),
            "step_flops": self._times.flops(step.work),
            "step_bytes": step.work.weight_bytes + step.work.kv_bytes,
        }

    def committed(self, tokens: int, ended: Iterable[Sequence]) -> None:
        """The last step gave `tokens` tokens, and `ended` have their last."""
        ended = [sequence for sequence in ended if sequence.deadlines]
        self.tokens += tokens
        self.fluidity = tuple(1 - s.missed_deadlines / s.deadlines for s in ended)
        self.deadlines_missed += sum(s.missed_deadlines for s in ended)
        self.deadlines_met += sum(s.deadlines - s.missed_deadlines for s in ended)

    def fields(self) -> dict[str, Any]:
        """All of it."""
        profile, correction = self._times.cost.profile, self._times.correction
        return {
            **self._last,
            "steps": self.steps,
            "tokens": self.tokens,
            "failed_steps": self.failed_steps,
            "deadlines_met": self.deadlines_met,
            "deadlines_missed": self.deadlines_missed,
            "fluidity": self.fluidity,
            "draft_steps_ns": self.draft_steps_ns,
            "prediction_error": correction.error,
            "prediction_factor": correction.factor,
            "peak_flops": 2 * profile.int8_macs,
            "peak_bandwidth": profile.bandwidth,
        }
