"""What steps will take: predicted from the program's work, corrected by what steps did take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from legato.config import EngineConfig
from legato.core import Objectives
from legato.cost.correct import CorrectionByKind, DraftCorrection, Spread
from legato.cost.decodes import DecodeCost
from legato.cost.estimate import StepCost, StepWork
from legato.cost.growing import GrowingStep
from legato.cost.machine import MachineProfile
from legato.program.ops import StepShape
from legato.program.program import Program
from legato.scheduler import policy
from legato.scheduler.batch import Batch

NS_PER_MS = 1_000_000
PREFILL_STRETCH = 3
"""A prompt's default objective allows for this many times its time on an idle machine."""

PREFILL_SLACK_NS = 2000 * NS_PER_MS
LEAST_TBT_NS = 50 * NS_PER_MS
FULL_DEPTH = 512
"""Cached tokens of each sequence of the full step that the default objective is taken from."""

FULL_STRETCH = 1.25
"""How much longer than a full step of decodes the default time between tokens is."""


@dataclass(slots=True)
class PricedStep:
    """What a batch should take, before it runs. Nobody changes it (see `StepWork`).

    Attributes:
        work: its FLOPs and bytes.
        raw_ns: predicted from the profile alone.
        predicted_ns: with the correction.
        parts: of each sequence in order, its part of the predicted time, in any unit.
        verifies: whether it verifies drafts.
    """

    work: StepWork
    raw_ns: int
    predicted_ns: int
    parts: list[float]
    verifies: bool = False

    @property
    def has_prompts(self) -> bool:
        """Whether it computes prompt rows."""
        return self.work.tokens > self.work.outputs


class StepTimes:
    """Predicts the steps of one engine, and learns from those that it made."""

    def __init__(self, program: Program, profile: MachineProfile, config: EngineConfig) -> None:
        self.cost = StepCost(program, profile)
        self.correction = CorrectionByKind()
        self._drafts = DraftCorrection()
        self._spread = Spread()  # of steps with prompt rows: those that are filled to a deadline
        self._decode_cost = DecodeCost(self.cost)
        self._chunk = config.max_batch_tokens
        full = min(config.max_sequences, config.max_batch_tokens)
        depth = min(FULL_DEPTH, config.max_context or program.max_context) - 1
        full_ns = self.cost.predict_ns(StepShape(((1, depth),) * full, full))
        own_tbt = round(config.tbt_ms * NS_PER_MS)
        self._ttft_ns = round(config.ttft_ms * NS_PER_MS)
        self._tbt_ns = own_tbt or max(LEAST_TBT_NS, round(FULL_STRETCH * full_ns))

    def plan(self, has_prompts: bool) -> GrowingStep:
        """A step without sequences, to be filled, with prompt rows or without."""
        factor = self.correction.factor(has_prompts)
        if not has_prompts:
            factor *= self._drafts.plain
        return GrowingStep(self.cost, factor, self._drafts.widened, self._spread.factor)

    def price(self, batch: Batch) -> PricedStep:
        """What `batch` will take."""
        if batch.only_decodes:
            return self._price_decodes([s.num_computed for s in batch.sequences])
        step = GrowingStep(self.cost)
        for sequence, rows in zip(batch.sequences, batch.num_rows, strict=True):
            step.add(rows, sequence.num_computed, sequence.samples_after(rows))
        parts = step.parts() if len(batch.sequences) > 1 else [1.0]
        verifies = any(sequence.draft for sequence in batch.sequences)
        return self._priced(step.work(), step.ns(), parts, verifies)

    def _price_decodes(self, pasts: list[int]) -> PricedStep:
        work = self._decode_cost.work(pasts)
        parts = self._decode_cost.parts(pasts) if len(pasts) > 1 else [1.0]
        return self._priced(work, self._decode_cost.ns(work), parts, False)

    def _priced(self, work: StepWork, ns: float, parts: list[float], verifies: bool) -> PricedStep:
        step = PricedStep(work, max(1, round(ns)), 0, parts, verifies)
        corrected_ns = self.correction.corrected_ns(step.has_prompts, step.raw_ns)
        step.predicted_ns = max(1, round(corrected_ns * self._rest(step)))
        return step

    def _rest(self, step: PricedStep) -> float:
        """What is known of `step` beside its correction."""
        return 1.0 if step.has_prompts else self._drafts.factor(step.verifies)

    def observe(self, step: PricedStep, measured_ns: int) -> None:
        """`step` took `measured_ns`. Times of zero say nothing: a clock that stands still."""
        if measured_ns <= 0:
            return
        corrected_ns = self.correction.corrected_ns(step.has_prompts, step.raw_ns)
        self.correction.observe(step.has_prompts, step.raw_ns, measured_ns, self._rest(step))
        if step.has_prompts:
            self._spread.observe(step.predicted_ns, measured_ns)
        else:
            self._drafts.observe(step.verifies, corrected_ns, measured_ns)

    def flops(self, work: StepWork) -> float:
        """Floating-point operations of the linears and the attention of a step."""
        linear = work.tokens * self.cost.work.tokens.weights
        linear += work.outputs * self.cost.work.outputs.weights
        return 2 * linear + work.attention_flops

    def prefill_ns(self, tokens: int) -> int:
        """Time of a prompt of `tokens` on an idle machine, in full chunks."""
        starts = range(0, tokens, self._chunk)
        steps = (StepShape(((min(self._chunk, tokens - s), s),), 1) for s in starts)
        return self.correction.corrected_ns(True, sum(map(self.cost.predict_ns, steps)))

    def decode_ns(self, count: int, depth: int) -> float:
        """Time of a step in which `count` sequences of `depth` cached tokens decode."""
        return self._decodes(count, depth, has_prompts=False).ns()

    def row_ns(self, decodes: int, depth: int, tbt_ns: int, past: int) -> float:
        """Time of one prompt row after `past` others, beside `decodes` streams that are early and
        want a token every `tbt_ns`.

        The whole step counts: what the streams take is taken from the prompt.
        """
        step = self._decodes(decodes, depth, has_prompts=True)
        most = max(1, self._chunk - decodes)
        if not decodes:
            return step.ns_with(most, past, 1) / most
        gap_ns = policy.longest_gap_ns(tbt_ns)
        limit_ns = policy.step_limit_ns(gap_ns / step.spread, step.ns())
        rows = policy.largest_chunk(
            most, min(policy.LEAST_CHUNK, most), limit_ns, lambda n: step.ns_with(n, past, 1)
        )
        return step.ns_with(rows, past, 1) / rows

    def _decodes(self, count: int, depth: int, *, has_prompts: bool) -> GrowingStep:
        step = self.plan(has_prompts)
        for _ in range(count):
            step.add(1, depth, 1)
        return step

    def ttft_ns(self, objectives: Objectives, prompt: int) -> int:
        """The time to first token that a request with a prompt of that many tokens wants."""
        own = objectives.ttft_ns or self._ttft_ns
        return own or PREFILL_SLACK_NS + PREFILL_STRETCH * self.prefill_ns(prompt)

    def tbt_ns(self, objectives: Objectives) -> int:
        """The time between tokens that a request wants."""
        return objectives.tbt_ns or self._tbt_ns


def split_ns(total_ns: int, parts: Sequence[float]) -> list[int]:
    """`total_ns` in shares like `parts` ≥ 0, at least one; integers that add up exactly.

    Even shares where all parts are 0.
    """
    if len(parts) == 1:
        return [total_ns]
    sums = list(accumulate(parts))
    if sums[-1] <= 0:
        sums = [float(count) for count in range(1, len(parts) + 1)]
    scale = total_ns / sums[-1]
    ends = [int(end * scale) for end in sums[:-1]] + [total_ns]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
