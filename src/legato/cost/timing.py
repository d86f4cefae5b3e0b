"""Step times on a machine that others use too: every step is timed beside a canary.

The canary is the same small step each time. Where it ran slower than it can, somebody else had the
cores, and what was timed beside it says little about the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from legato.clock import Clock
from legato.cost.driver import StepDriver
from legato.program.ops import StepShape

CANARY = StepShape(((4, 0),), 1)
CALM = 1.2
"""A canary up to this much slower than usual is calm."""

Report = Callable[[float], None]
"""Told which part of a measurement is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TimedStep:
    """A step's shape, the nanoseconds that it took, and how slow the canary beside it was: 1 is
    as fast as the machine can."""

    shape: StepShape
    ns: int
    canary: float = 1.0

    @property
    def calm(self) -> bool:
        """Whether the machine was left alone."""
        return self.canary <= CALM


def time_steps(
    driver: StepDriver,
    shapes: Sequence[StepShape],
    clock: Clock,
    *,
    seconds: float,
    min_rounds: int = 1,
    report: Report = lambda share: None,
) -> list[TimedStep]:
    """Every shape once a round, in an order of its own, in as many rounds as fit in `seconds`."""
    stamps: list[tuple[StepShape, int, int]] = []
    order = np.random.default_rng(1)
    start, rounds, elapsed = clock.now_ns(), 0, 0.0
    before = driver.time(CANARY, clock)
    while rounds < min_rounds or elapsed * (rounds + 1) / rounds <= seconds:
        for index in order.permutation(len(shapes)):
            ns = driver.time(shapes[index], clock)
            after = driver.time(CANARY, clock)
            stamps.append((shapes[index], ns, max(before, after)))
            before = after
        rounds += 1
        elapsed = (clock.now_ns() - start) / 1e9
        report(elapsed / max(seconds, elapsed))
    report(1.0)
    usual = float(np.percentile([canary for _, _, canary in stamps], 20))
    return [TimedStep(shape, ns, canary / usual) for shape, ns, canary in stamps]


def typical_steps(steps: Sequence[TimedStep]) -> list[TimedStep]:
    """One step a shape: the median of its calm ones, or the calmest where none was calm."""
    by_shape: dict[StepShape, list[TimedStep]] = {}
    for step in steps:
        by_shape.setdefault(step.shape, []).append(step)
    return [_typical(group) for group in by_shape.values()]


def _typical(steps: list[TimedStep]) -> TimedStep:
    calm = [step for step in steps if step.calm] or [min(steps, key=lambda step: step.canary)]
    middle = int(np.median([step.ns for step in calm]))
    return TimedStep(calm[0].shape, middle, calm[0].canary)
