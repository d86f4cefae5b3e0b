"""The running error of a cost model, and the slow correction that follows from it."""

from __future__ import annotations

import math

RATE = 1 / 64
"""Weight of the newest step: the correction follows a change within about a hundred steps."""

LARGEST = math.log(4.0)
"""Bound of the whole correction."""

MOST_STEPS = 0.9
"""Share of steps that are to end within `Spread.factor` times their prediction."""

SPREAD_STEP = 0.02
"""How far one step may move the logarithm of a `Spread`."""

LARGEST_SPREAD = math.log(1.25)

SURPRISE = 0.15
"""Most by which one step may differ from what was learnt: more is a stall, not a wrong estimate."""


class Correction:
    """Compares predictions with measured steps.

    The factor is an exponential moving mean of log(measured / predicted): a ratio of two and one
    of a half cancel. A step that differs much counts like one that differs a little (Huber 1964,
    Robust Estimation of a Location Parameter), so that a burst of stalls does not mislead it.
    """

    def __init__(self) -> None:
        self._log_ratio = 0.0
        self._steps = 0
        self.factor = 1.0
        """Multiply a prediction with this; 1 before any step, within [1/4, 4]."""
        self.error = 0.0
        """Running mean of |corrected prediction / measured − 1|, each at most 3."""

    def corrected_ns(self, predicted_ns: int) -> int:
        """A prediction with what was learnt so far, at least one."""
        return max(1, round(predicted_ns * self.factor))

    def observe(self, predicted_ns: int, measured_ns: int) -> None:
        """A step was predicted, before correction, and took `measured_ns`; both positive."""
        ratio = math.log(measured_ns / predicted_ns)
        surprise = max(-SURPRISE, min(SURPRISE, ratio - self._log_ratio))
        self._steps += 1
        rate = max(RATE, 1 / self._steps)  # a plain mean of the first steps, then a moving one
        error = min(3.0, abs(predicted_ns * self.factor / measured_ns - 1))
        self.error += rate * (error - self.error)
        self._log_ratio = max(-LARGEST, min(LARGEST, self._log_ratio + rate * surprise))
        self.factor = math.exp(self._log_ratio)


class Spread:
    """An upper quantile of measured / predicted: a deadline wants more than the mean.

    Stochastic approximation (Robbins and Monro 1951, A Stochastic Approximation Method): a step
    that takes longer raises the quantile, one that does not lowers it by so much less that both
    balance where `MOST_STEPS` of the steps are within it. How much longer does not matter.
    """

    def __init__(self) -> None:
        self._log = 0.0
        self.factor = 1.0
        """Multiply a corrected prediction with this; 1 before any step, within [1, 1.25]."""

    def observe(self, predicted_ns: int, measured_ns: int) -> None:
        """A step was predicted, corrected, and took `measured_ns`; both positive."""
        is_late = measured_ns > predicted_ns * self.factor
        moved = self._log + SPREAD_STEP * (is_late - (1 - MOST_STEPS))
        self._log = max(0.0, min(LARGEST_SPREAD, moved))
        self.factor = math.exp(self._log)
