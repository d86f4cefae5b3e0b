"""What a step has left: token rows, and time until the first running stream would be late."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

from legato.scheduler import policy
from legato.scheduler.sequence import Sequence

UNLIMITED = float("inf")


class StepPlan(Protocol):
    """The predicted time of a step that is being put together."""

    @property
    def spread(self) -> float:
        """Nearly all steps end within this many times their prediction."""
        ...

    def add(self, rows: int, past: int, outputs: int) -> None:
        """One more sequence: `rows` rows after `past` cached tokens, `outputs` of them sampled."""
        ...

    def ns(self) -> float:
        """Predicted nanoseconds so far."""
        ...

    def ns_with(self, rows: int, past: int, outputs: int) -> float:
        """Predicted nanoseconds with one sequence more; nothing is added."""
        ...

    def ns_widened(self, rows: int, past: int) -> float:
        """Predicted nanoseconds with `rows` more sampled rows of sequences that are in it already,
        with about `past` cached tokens each; nothing is added."""
        ...


class StepBudget:
    """Rows and time that prefill chunks may still take.

    The first chunk of a step gets at least `policy.LEAST_CHUNK` rows, whatever time is left, so
    that prefill always goes on.

    Attributes:
        rows: left of the step.
        slack_ns: until the first stream is due.
        has_prompts: whether a chunk was given.
    """

    def __init__(self, rows: int, new_plan: Callable[[], StepPlan], slack_ns: float) -> None:
        """`new_plan` gives a plan that has the decodes already, the first of which is due in
        `slack_ns`."""
        self.rows = rows
        self.slack_ns = slack_ns
        self.has_prompts = False
        self._new_plan = new_plan
        self._least = policy.LEAST_CHUNK
        self._had_no_row = False

    @cached_property
    def plan(self) -> StepPlan:
        """The step so far; made when somebody asks, for that takes time."""
        return self._new_plan()

    @cached_property
    def _decode_ns(self) -> float:
        return self.plan.ns()

    @property
    def limit_ns(self) -> float:
        """How long the step may take."""
        if self.slack_ns == UNLIMITED:
            return UNLIMITED
        return policy.step_limit_ns(self.slack_ns / self.plan.spread, self._decode_ns)

    @property
    def exhausted(self) -> bool:
        """Whether no further chunk can have a row."""
        if self.rows <= 0 or self._had_no_row:
            return True
        return not self._least and self.limit_ns <= self.plan.ns()

    def chunk(self, pending: int, past: int) -> int:
        """Rows that a sequence with `pending` tokens to compute after `past` may have."""
        most = min(self.rows, pending)
        if self.limit_ns == UNLIMITED:
            return most

        def step_ns(rows: int) -> float:
            return self.plan.ns_with(rows, past, int(rows == pending))

        chunk = policy.largest_chunk(most, min(self._least, most), self.limit_ns, step_ns)
        self._had_no_row = not chunk  # nor will the next have one: rows cost much the same
        return chunk

    def cost_ns(self, sequence: Sequence) -> float:
        """Predicted time that all that `sequence` has to compute would add to the step."""
        plan = self.plan
        return plan.ns_with(sequence.num_pending, sequence.num_computed, 1) - plan.ns()

    def take(self, rows: int, past: int, outputs: int) -> None:
        """A chunk was given."""
        _ = self._decode_ns  # before it grows
        self.rows -= rows
        self.has_prompts = True
        self._least = 0
        self.plan.add(rows, past, outputs)
