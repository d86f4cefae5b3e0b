"""Step times on a machine that others use too: every step is timed beside a canary.

The canary is the same small step each time. Where it ran slower than it can, somebody else had the
cores, and what was timed beside it says little about the step.
"""

from __future__ import annotations

from collections import Counter
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
    least: int = 1,
    report: Report = lambda share: None,
) -> list[TimedStep]:
    """Times of `shapes`, each at least `least` times, for about `seconds`.

    All shapes get the same share of the time, so that a small step is timed more often than a
    large one, which a short disturbance hurts less.
    """
    stamps: list[tuple[StepShape, int, int]] = []
    turns = _Turns(len(shapes), least)
    start_ns = clock.now_ns()
    before = driver.time(CANARY, clock)
    while turns.owed or (clock.now_ns() - start_ns) / 1e9 < seconds:
        index = turns.next()
        ns = driver.time(shapes[index], clock)
        after = driver.time(CANARY, clock)
        stamps.append((shapes[index], ns, max(before, after)))
        turns.took(index, ns + after)
        before = after
        report(min(1.0, (clock.now_ns() - start_ns) / 1e9 / max(seconds, 1e-9)))
    report(1.0)
    usual = float(np.percentile([canary for _, _, canary in stamps], 20))
    return [TimedStep(shape, ns, canary / usual) for shape, ns, canary in stamps]


class _Turns:
    """Whose turn it is: in rounds until all had `least` turns, then whoever had least time."""

    def __init__(self, count: int, least: int) -> None:
        order = np.random.default_rng(1)
        self._rounds = [int(index) for _ in range(least) for index in order.permutation(count)]
        self._times = np.zeros(count)

    @property
    def owed(self) -> int:
        """Turns until all had their least number."""
        return len(self._rounds)

    def next(self) -> int:
        """The next one."""
        return self._rounds.pop() if self._rounds else int(self._times.argmin())

    def took(self, index: int, ns: int) -> None:
        """What a turn took."""
        self._times[index] += ns


def typical_steps(steps: Sequence[TimedStep]) -> list[TimedStep]:
    """One step a shape: the median of its calm ones, or the calmest where none was calm."""
    by_shape: dict[StepShape, list[TimedStep]] = {}
    for step in steps:
        by_shape.setdefault(step.shape, []).append(step)
    return [_typical(group) for group in by_shape.values()]


def even_steps(steps: Sequence[TimedStep]) -> list[TimedStep]:
    """The first times of each shape, equally many of all, in order: no shape counts more."""
    counts = Counter(step.shape for step in steps)
    least, seen = min(counts.values(), default=0), Counter[StepShape]()
    kept = []
    for step in steps:
        seen[step.shape] += 1
        if seen[step.shape] <= least:
            kept.append(step)
    return kept


def _typical(steps: list[TimedStep]) -> TimedStep:
    calm = [step for step in steps if step.calm] or [min(steps, key=lambda step: step.canary)]
    middle = int(np.median([step.ns for step in calm]))
    return TimedStep(calm[0].shape, middle, calm[0].canary)
