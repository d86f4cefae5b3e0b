"""What an engine tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from operator import sub

PLACES = 16
"""Places in a draft that figures tell apart; later ones count as the last."""


@dataclass(frozen=True, slots=True)
class SpeculationFigures:
    """What became of drafts since the start.

    Attributes:
        drafts: how many were verified.
        drafted: tokens in them.
        accepted: those that the target chose itself.
        tried, right: by place in the draft: tokens before which all were right, and those of them
            that were right too.
        drafter_ns: time that looking for drafts took.
        plain_ns: what the steps with drafts would have taken without them, by the prediction.
        predicted_ns: what they were predicted to take.
        expected_ns: what the tokens that drafts were expected to add would have taken without
            drafts; earned_ns: the same for those that they did add.
    """

    drafts: int = 0
    drafted: int = 0
    accepted: int = 0
    tried: tuple[int, ...] = (0,) * PLACES
    right: tuple[int, ...] = (0,) * PLACES
    drafter_ns: int = 0
    plain_ns: float = 0.0
    predicted_ns: float = 0.0
    expected_ns: float = 0.0
    earned_ns: float = 0.0

    @property
    def predicted_gain(self) -> float:
        """Tokens a second over those without drafts, in the steps that had some, as predicted;
        1 without such a step."""
        whole_ns = self.plain_ns + self.expected_ns
        return whole_ns / self.predicted_ns if self.predicted_ns else 1.0

    def real_gain(self, steps_ns: int) -> float:
        """The same as measured: those steps took `steps_ns`."""
        return (self.plain_ns + self.earned_ns) / steps_ns if steps_ns else 1.0

    def since(self, before: SpeculationFigures) -> SpeculationFigures:
        """What became of drafts after `before` was taken."""
        return SpeculationFigures(
            self.drafts - before.drafts,
            self.drafted - before.drafted,
            self.accepted - before.accepted,
            tuple(map(sub, self.tried, before.tried)),
            tuple(map(sub, self.right, before.right)),
            self.drafter_ns - before.drafter_ns,
            self.plain_ns - before.plain_ns,
            self.predicted_ns - before.predicted_ns,
            self.expected_ns - before.expected_ns,
            self.earned_ns - before.earned_ns,
        )


NO_DRAFTS = SpeculationFigures()
"""Without speculation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Figures at one moment between two steps. Times in nanoseconds of the engine's clock.

    Attributes:
        running: sequences that take part in steps.
        waiting: sequences that do not, preempted ones included.
        waiting_requests: requests of which no sample has ever run.
        oldest_waiting_ns: arrival of the oldest such request, or None.
        free_blocks, used_blocks, cached_blocks: the KV pool; together all of it.
        last_step_ns: when the last step ended; 0 before the first.
        step_duration_ns, step_rows: time and token rows of the last step.
        step_predicted_ns: what it should have taken, with the correction.
        step_decode_rows, step_draft_rows: of its rows; the others are of prompts.
        step_sequences: how many took part in it.
        step_flops, step_bytes: its work, from the op table.
        fluidity: fluidity-index of each sample that ended with it.
        steps, tokens, preemptions, failed_steps: totals since the start.
        deadlines_met, deadlines_missed: of samples that ended, since the start.
        prompt_tokens, cached_prompt_tokens: of prompts that began, and of them from the cache.
        prediction_error: running mean of |predicted / measured - 1| of step times.
        prediction_factor: the correction that predictions have now.
        peak_flops, peak_bandwidth: the machine's ceilings, per second.
        speculation: what became of drafts; zeros without speculation.
        draft_steps_ns: time of all steps that verified drafts.
    """

    running: int = 0
    waiting: int = 0
    waiting_requests: int = 0
    oldest_waiting_ns: int | None = None
    free_blocks: int = 0
    used_blocks: int = 0
    cached_blocks: int = 0
    last_step_ns: int = 0
    step_duration_ns: int = 0
    step_rows: int = 0
    step_predicted_ns: int = 0
    step_decode_rows: int = 0
    step_draft_rows: int = 0
    step_sequences: int = 0
    step_flops: float = 0.0
    step_bytes: float = 0.0
    fluidity: tuple[float, ...] = ()
    steps: int = 0
    tokens: int = 0
    preemptions: int = 0
    failed_steps: int = 0
    deadlines_met: int = 0
    deadlines_missed: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    prediction_error: float = 0.0
    prediction_factor: float = 1.0
    peak_flops: float = 0.0
    peak_bandwidth: float = 0.0
    speculation: SpeculationFigures = NO_DRAFTS
    draft_steps_ns: int = 0
