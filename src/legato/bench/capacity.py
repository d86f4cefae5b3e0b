"""Capacity: the highest request rate at which enough requests are fluid, found by search.

The rate doubles in short trials until one fails; then the gap is bisected in thorough ones. Each
trial ends as soon as a sequential test knows. A rate fails in two trials or not at all, so that one
bad moment does not decide. What is given as the capacity was tried thoroughly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from legato.bench.rule import Rule, Search
from legato.errors import LegatoError
from legato.metrics.confidence import share_interval

HALVINGS = 6  # below the first rate
ATTEMPTS = 2  # trials that have to fail


@dataclass(slots=True)
class Point:
    """A trial of a rate.

    Attributes:
        rate: requests/s.
        fluid: requests that were fluid.
        requests: all that were judged.
        seconds: how long they arrived.
        kept: whether the share was reached, by the test or, where that stayed open, as observed.
        sure: the test decided.
        thorough: it was given all the time and evidence that it asks for.
        overruled: it failed, and the next trial of the rate did not.
    """

    rate: float
    fluid: int
    requests: int
    seconds: float
    kept: bool = False
    sure: bool = False
    thorough: bool = False
    overruled: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the share and its 95 % bounds."""
        bounds = share_interval(self.fluid, self.requests)
        return {**asdict(self), "share": self.fluid / self.requests, **asdict(bounds)}


Trial = Callable[[float, Rule], Point | None]  # puts a rate on; None when the user has seen enough


@dataclass(slots=True)
class Capacity:
    """What a search has found.

    Attributes:
        search: how it went about it.
        share: of the requests that has to be fluid.
        points: the trials in their order; a rate may have had several.
        interrupted: the search was ended early.
    """

    search: Search
    share: float
    points: list[Point] = field(default_factory=list)
    interrupted: bool = False

    @property
    def refuted(self) -> Point | None:
        """The lowest rate that did not keep the share."""
        failed = (point for point in self.points if not (point.kept or point.overruled))
        return min(failed, key=_rate, default=None)

    @property
    def kept(self) -> Point | None:
        """The highest rate below that which did, by its last trial."""
        limit = self.refuted.rate if self.refuted else float("inf")
        below = [point for point in self.points if point.kept and point.rate < limit]
        return max(below, key=lambda point: (point.rate, point.thorough), default=None)

    @property
    def rate(self) -> float | None:
        """The capacity, requests/s; None when no rate kept the share."""
        return self.kept.rate if self.kept else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; the whole curve, by rate."""
        return {
            "rate": self.rate,
            "refuted": self.refuted.rate if self.refuted else None,
            "sure": bool(self.kept and self.kept.sure and self.kept.thorough),
            "refuted_for_sure": bool(self.refuted and self.refuted.sure),
            "share": self.share,
            "interrupted": self.interrupted,
            "search": asdict(self.search),
            "points": [point.to_json() for point in sorted(self.points, key=_rate)],
        }


def _rate(point: Point) -> float:
    return point.rate


def find_capacity(search: Search, share: float, trial: Trial) -> Capacity:
    """Search the highest rate at which `share` of the requests are fluid.

    Args:
        search: where to look and how sure to be.
        share: the objective.
        trial: puts a rate on the server until the rule has a verdict. None ends the search.

    Raises:
        LegatoError: no request arrived in a trial.
    """
    capacity = Capacity(search, share)
    while (step := next_step(capacity)) is not None:
        rate, thorough = step
        rule = search.rule(share, thorough=thorough)
        found: list[Point] = []
        while len(found) < ATTEMPTS and not any(point.kept for point in found):
            point = trial(rate, rule)
            if point is None:
                capacity.interrupted = True
                return capacity
            found.append(judged(point, rule, thorough))
            capacity.points.append(found[-1])
        for failed in found[:-1]:
            failed.overruled = found[-1].kept
    return capacity


def judged(point: Point, rule: Rule, thorough: bool) -> Point:
    """`point` with its verdict, now that the last answer is in."""
    if not point.requests:
        raise LegatoError(f"no request arrived at {point.rate:g}/s; make the trials longer")
    verdict = rule.verdict(point.fluid, point.requests, point.seconds)
    observed = point.fluid / point.requests >= rule.test.share
    point.kept = observed if verdict is None else verdict
    point.sure, point.thorough = verdict is not None, thorough
    return point


def next_step(capacity: Capacity) -> tuple[float, bool] | None:
    """The next rate, and whether to try it thoroughly; None when the capacity is known."""
    search, kept, refuted = capacity.search, capacity.kept, capacity.refuted
    if refuted is None:
        rate = kept.rate * 2 if kept else search.start
        if rate <= search.highest:
            return rate, False
    elif kept is None:
        lower = refuted.rate / 2
        return (lower, False) if lower >= search.start / 2**HALVINGS else None
    elif refuted.rate / kept.rate > search.precision:
        return (kept.rate * refuted.rate) ** 0.5, True
    return None if kept is None or kept.thorough else (kept.rate, True)
