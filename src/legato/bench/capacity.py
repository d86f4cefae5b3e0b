"""Capacity: the highest request rate at which enough requests are fluid, found by search.

A run at a rate is a trial of so many requests. A rate keeps the objective when the observed share
of fluid requests reaches it, and is refuted when even the upper confidence bound does not. Between
the two more trials are run, so that a single bad moment does not decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from legato.errors import LegatoError
from legato.metrics.confidence import CONFIDENCE, Interval, share_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Attributes:
    start: first rate tried, requests/s.
    highest: rates above it are not tried.
    precision: the search ends when the rate is known within this factor.
    max_trials: most runs at one rate.
    share: of the requests that has to be fluid.
    confidence: of the bounds of that share.
    """

    start: float = 1.0
    highest: float = 1000.0
    precision: float = 1.1
    max_trials: int = 3
    share: float = 0.99
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not (0 < self.start <= self.highest and self.precision > 1 and self.max_trials >= 1):
            raise LegatoError(f"this search cannot end: {self}")


@dataclass(slots=True)
class Point:
    """All trials at one rate."""

    rate: float
    fluid: int = 0
    requests: int = 0
    trials: int = 0

    def keeps(self, share: float) -> bool:
        """Whether the observed share reaches the objective."""
        return self.requests > 0 and self.fluid / self.requests >= share

    def interval(self, confidence: float) -> Interval:
        """Bounds of the true share."""
        return share_interval(self.fluid, self.requests, confidence)


@dataclass(slots=True)
class Capacity:
    """Attributes:
    rate: the highest rate that kept the objective; None when none did.
    refuted: the lowest rate above it that did not; None when none was found.
    refuted_for_sure: whether that one's upper bound lies below the objective.
    points: the whole curve, by rate.
    interrupted: the search was ended early.
    """

    search: Search
    rate: float | None = None
    refuted: float | None = None
    refuted_for_sure: bool = False
    points: list[Point] = field(default_factory=list)
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values; each point with its share and bounds."""
        return {**asdict(self), "points": [self._point_json(point) for point in self.points]}

    def _point_json(self, point: Point) -> dict[str, Any]:
        interval = point.interval(self.search.confidence)
        share = point.fluid / point.requests
        return {**asdict(point), "share": share, "low": interval.low, "high": interval.high}


Trial = Callable[[float, int], tuple[int, int] | None]  # (rate, number) → fluid, requests


class _Interrupted(Exception):  # noqa: N818 - a way out, not an error
    """The user has seen enough."""


def find_capacity(search: Search, trial: Trial) -> Capacity:
    """Double or halve the rate until the objective breaks or holds, then bisect (geometrically).

    Args:
        search: where to look and how sure to be.
        trial: runs the load at a rate; `number` counts the runs at this rate, for the seed. None
            ends the search.
    """
    capacity = Capacity(search)
    try:
        _bracket(capacity, trial)
        while _unsettled(capacity):
            assert capacity.rate is not None
            assert capacity.refuted is not None
            _probe(capacity, (capacity.rate * capacity.refuted) ** 0.5, trial)
    except _Interrupted:
        capacity.interrupted = True
    capacity.points.sort(key=lambda point: point.rate)
    return capacity


def _bracket(capacity: Capacity, trial: Trial) -> None:
    search = capacity.search
    rate = search.start
    while capacity.refuted is None and rate <= search.highest:
        _probe(capacity, rate, trial)
        rate *= 2
    rate = search.start / 2
    while capacity.rate is None and rate >= search.start / 64:
        _probe(capacity, rate, trial)
        rate /= 2


def _unsettled(capacity: Capacity) -> bool:
    if capacity.rate is None or capacity.refuted is None:
        return False
    return capacity.refuted / capacity.rate > capacity.search.precision


def _probe(capacity: Capacity, rate: float, trial: Trial) -> None:
    """Run trials at `rate` until it is settled, and move the bounds."""
    search = capacity.search
    point = Point(rate)
    while point.trials < search.max_trials and not _settled(point, search):
        result = trial(rate, point.trials)
        if result is None:
            raise _Interrupted
        point.trials += 1
        point.fluid += result[0]
        point.requests += result[1]
    if not point.requests:
        raise LegatoError(f"no request arrived at {rate:g} requests/s; make the trials longer")
    capacity.points.append(point)
    if point.keeps(search.share):
        capacity.rate = rate
    else:
        capacity.refuted = rate
        capacity.refuted_for_sure = point.interval(search.confidence).high < search.share


def _settled(point: Point, search: Search) -> bool:
    if not point.requests:
        return False
    return point.keeps(search.share) or point.interval(search.confidence).high < search.share
