"""What drafted rows cost in steps of each kind, remembered: equal steps come many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from legato.scheduler import policy
from legato.scheduler.budget import StepBudget
from legato.speculative.depth import least_gain, margin, row_times

_DEPTH_STEP = 256
"""Cached tokens by which two steps must differ for their rows to be priced anew."""

_REMEMBERED = 64
"""Questions after which all prices are asked anew: predictions follow the machine."""


@dataclass(frozen=True, slots=True)
class RowPrices:
    """Of steps in which `decodes` sequences decode.

    Attributes:
        times: see `depth.row_times`.
        margin: see `depth.margin`.
        least_gain: see `depth.least_gain`.
        spread: nearly all steps end within so many times their prediction.
    """

    decodes: int
    times: list[float]
    margin: float
    least_gain: float
    spread: float = 1.0

    @property
    def most_rows(self) -> int:
        """The most rows that are drafted in all."""
        return len(self.times) - 1

    def limit_ns(self, slack_ns: float) -> float:
        """How long the step may take where the first stream is due in `slack_ns`."""
        return policy.step_limit_ns(slack_ns / self.spread, self.times[0])


class PriceList:
    """`RowPrices` by number of sequences, room and cached tokens."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], RowPrices] = {}
        self._asked = 0

    def of(self, decodes: int, past: int, budget: StepBudget) -> RowPrices:
        """For `decodes` sequences with about `past` cached tokens, in what is left of `budget`."""
        self._asked += 1
        if self._asked % _REMEMBERED == 0:
            self._known.clear()
        key = (decodes, budget.rows, past // _DEPTH_STEP)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _priced(decodes, past, budget)
        return known


def step_times(budget: StepBudget, past: int) -> Callable[[int], float]:
    """Predicted nanoseconds, at least one, of the step of `budget` with so many rows added, of
    sequences with about `past` cached tokens."""
    plan = budget.plan
    return lambda rows: max(1.0, plan.ns_widened(rows, past) if rows else plan.ns())


def _priced(decodes: int, past: int, budget: StepBudget) -> RowPrices:
    times = row_times(decodes, step_times(budget, past), budget.rows)
    gain = least_gain(decodes, times)
    return RowPrices(decodes, times, margin(decodes), gain, budget.plan.spread)
