"""Two runs side by side: per figure the difference, its bootstrap interval, and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legato.bench.objectives import Objectives
from legato.bench.outcome import Outcome
from legato.metrics import latency
from legato.metrics.confidence import CONFIDENCE, Interval, bootstrap_difference
from legato.metrics.latency import NS_PER_SECOND
from legato.metrics.timeline import Timeline

NAN = float("nan")
Rows = Sequence[Sequence[float]]  # values of each request; none where it has nothing to say


class Verdict(StrEnum):
    """What a difference means."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no significant difference"


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of two runs; `low`..`high` is the interval of `second` − `first`."""

    figure: str
    first: float
    second: float
    low: float
    high: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Figure:
    """How a figure is made: values of a request, and one number of the values of all."""

    name: str
    values: Callable[[Outcome, Objectives], Sequence[float]]
    percent: float | None  # a percentile; None is the mean
    more_is_better: bool = False

    def of(self, values: NDArray[np.float64]) -> float:
        """The number; NaN without values."""
        if not len(values):
            return NAN
        return float(values.mean() if self.percent is None else np.percentile(values, self.percent))


def _latencies(measure: Callable[[Timeline], Sequence[float]]) -> Callable[..., Sequence[float]]:
    """Seconds, of a request that succeeded."""

    def values(outcome: Outcome, objectives: Objectives) -> Sequence[float]:
        if not outcome.succeeded:
            return ()
        return [value / NS_PER_SECOND for value in measure(outcome.timeline)]

    return values


def _tpot(timeline: Timeline) -> Sequence[float]:
    tpot = latency.tpot_ns(timeline)
    return () if tpot is None else (tpot,)


_TTFT = _latencies(lambda timeline: [latency.ttft_ns(timeline)])
_TBT = _latencies(latency.tbt_ns)
_NORMALIZED = _latencies(lambda timeline: [latency.normalized_latency_ns(timeline)])
FIGURES = (
    Figure("TTFT p50, s", _TTFT, 50),
    Figure("TTFT p90, s", _TTFT, 90),
    Figure("TBT p50, s", _TBT, 50),
    Figure("TBT p99, s", _TBT, 99),
    Figure("TPOT p50, s", _latencies(_tpot), 50),
    Figure("normalized latency p50, s", _NORMALIZED, 50),
    Figure("fluidity-index, mean", lambda o, goal: (goal.index(o),), None, more_is_better=True),
    Figure(
        "fluid requests", lambda o, goal: (goal.index(o) >= goal.fluid,), None, more_is_better=True
    ),
    Figure("failed requests", lambda o, goal: (not o.succeeded,), None),
)  # fmt: skip


def compare(
    first: Sequence[Outcome],
    second: Sequence[Outcome],
    objectives: Objectives,
    *,
    confidence: float = CONFIDENCE,
) -> list[Difference]:
    """Every figure that both runs have. Requests are resampled whole, tokens with them.

    Latencies are of requests that succeeded; a failed one has a fluidity-index of 0 and counts
    among the failed.
    """
    differences = []
    for figure in FIGURES:
        a, b = ([figure.values(o, objectives) for o in run] for run in (first, second))
        if any(map(len, a)) and any(map(len, b)):
            differences.append(_compare(figure, a, b, confidence))
    return differences


def _compare(figure: Figure, first: Rows, second: Rows, confidence: float) -> Difference:
    statistics = [_statistic(figure, rows) for rows in (first, second)]
    values = [
        statistic(np.arange(len(rows)))
        for statistic, rows in zip(statistics, (first, second), strict=True)
    ]
    interval = bootstrap_difference(
        statistics[0], len(first), statistics[1], len(second), confidence=confidence
    )
    verdict = judge(interval, figure.more_is_better)
    return Difference(figure.name, values[0], values[1], interval.low, interval.high, verdict)


def _statistic(figure: Figure, rows: Rows) -> Callable[[NDArray[np.intp]], float]:
    arrays = [np.asarray(values, dtype=np.float64) for values in rows]
    return lambda chosen: figure.of(np.concatenate([arrays[index] for index in chosen]))


def judge(interval: Interval, more_is_better: bool) -> Verdict:
    """Significant where the whole interval lies on one side of 0."""
    if interval.low <= 0 <= interval.high:
        return Verdict.SAME
    return Verdict.BETTER if (interval.low > 0) == more_is_better else Verdict.WORSE
