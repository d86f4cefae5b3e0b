"""What a step has left: token rows, and time until the first running stream would be late."""

from __future__ import annotations

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
    """

    def __init__(self, rows: int, plan: StepPlan, limit_ns: float) -> None:
        """`plan` has the decodes already; the whole step is to take at most `limit_ns`."""
        self.rows = rows
        self.plan = plan
        self.limit_ns = limit_ns
        self._least = policy.LEAST_CHUNK
        self._had_no_row = False

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
        self.rows -= rows
        self._least = 0
        self.plan.add(rows, past, outputs)
