"""What drafting takes: predicted as the target's steps are, corrected by what it did take."""

from __future__ import annotations

from collections.abc import Sequence as List

from legato.clock import Clock
from legato.cost.correct import Correction
from legato.cost.estimate import StepCost
from legato.cost.growing import GrowingStep
from legato.cost.machine import MachineProfile
from legato.program.program import Program

Rows = tuple[int, int, int]
"""(rows, cached tokens before them, how many are sampled) of one sequence."""


class DraftTimes:
    """Predicts steps of a draft program and learns from those that it made."""

    def __init__(self, program: Program, profile: MachineProfile, clock: Clock) -> None:
        self._cost = StepCost(program, profile)
        self._correction = Correction()
        self._clock = clock

    def now_ns(self) -> int:
        """The engine's time."""
        return self._clock.now_ns()

    def ns(self, parts: List[Rows]) -> float:
        """Predicted time of a step of these sequences; 0 without any."""
        if not parts:
            return 0.0
        step = GrowingStep(self._cost, self._correction.factor)
        for part in parts:
            step.add(*part)
        return step.ns()

    def decode_ns(self, count: int, past: int) -> float:
        """Predicted time of a step of one row each of `count` > 0 sequences with about `past`
        cached tokens."""
        step = GrowingStep(self._cost, self._correction.factor)
        step.add(1, past, 1)
        return step.ns() if count == 1 else step.ns_widened(count - 1, past)

    def observe(self, predicted_ns: float, measured_ns: int) -> None:
        """Steps took `measured_ns` that were predicted by these methods to take `predicted_ns`."""
        raw_ns = round(predicted_ns / self._correction.factor)
        if raw_ns > 0 and measured_ns > 0:
            self._correction.observe(raw_ns, measured_ns)
