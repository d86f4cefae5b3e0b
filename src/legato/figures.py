"""What the steps of one engine came to: the running account behind its statistics."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from legato.scheduler.batch import Batch
from legato.scheduler.sequence import Sequence
from legato.step_times import PricedStep, StepTimes


class StepFigures:
    """Totals since the start, and the last step. `fields` are those of `EngineStats`."""

    def __init__(self, times: StepTimes) -> None:
        self._times = times
        self._last: _LastStep | None = None
        self.steps = self.tokens = self.failed_steps = 0
        self.deadlines_met = self.deadlines_missed = 0
        self.draft_steps_ns = 0
        self.fluidity: tuple[float, ...] = ()

    def record(self, batch: Batch, step: PricedStep, start_ns: int, end_ns: int) -> None:
        """A step of `batch` ran, well or not."""
        self.steps += 1
        self.fluidity = ()
        count, drafting_ns = len(batch.sequences), batch.drafting.predicted_ns
        if batch.only_decodes:
            self._last = _LastStep(step, drafting_ns, start_ns, end_ns, count, count, count, 0)
            return
        decodes = sum(sequence.num_pending == 1 for sequence in batch.sequences)
        drafted = sum(len(sequence.draft) for sequence in batch.sequences)
        rows = sum(batch.num_rows)
        self.draft_steps_ns += end_ns - start_ns if drafted else 0
        self._last = _LastStep(step, drafting_ns, start_ns, end_ns, count, rows, decodes, drafted)

    def committed(self, tokens: int, ended: Collection[Sequence]) -> None:
        """The last step gave `tokens` tokens, and `ended` have their last."""
        self.tokens += tokens
        if not ended:
            return
        ended = [sequence for sequence in ended if sequence.deadlines]
        self.fluidity = tuple(1 - s.missed_deadlines / s.deadlines for s in ended)
        self.deadlines_missed += sum(s.missed_deadlines for s in ended)
        self.deadlines_met += sum(s.deadlines - s.missed_deadlines for s in ended)

    def fields(self) -> dict[str, Any]:
        """All of it."""
        profile, correction = self._times.cost.profile, self._times.correction
        return {
            **self._last_step(),
            "steps": self.steps,
            "tokens": self.tokens,
            "failed_steps": self.failed_steps,
            "deadlines_met": self.deadlines_met,
            "deadlines_missed": self.deadlines_missed,
            "fluidity": self.fluidity,
            "draft_steps_ns": self.draft_steps_ns,
            "prediction_error": correction.error,
            "prediction_factor": correction.overall.factor,
            "peak_flops": 2 * profile.int8_macs,
            "peak_bandwidth": profile.bandwidth,
        }

    def _last_step(self) -> dict[str, Any]:
        last = self._last
        if last is None:
            return {}
        work = last.priced.work
        return {
            "last_step_ns": last.end_ns,
            "step_duration_ns": last.end_ns - last.start_ns,
            "step_predicted_ns": last.priced.predicted_ns + last.drafting_ns,
            "step_rows": last.rows,
            "step_decode_rows": last.decodes,
            "step_draft_rows": last.drafted,
            "step_sequences": last.sequences,
            "step_flops": self._times.flops(work),
            "step_bytes": work.weight_bytes + work.kv_bytes,
        }


@dataclass(slots=True)
class _LastStep:
    """A step that ran, what a draft model should have taken for it, and its `rows`, of them those
    of decodes and of drafts."""

    priced: PricedStep
    drafting_ns: int
    start_ns: int
    end_ns: int
    sequences: int
    rows: int
    decodes: int
    drafted: int
