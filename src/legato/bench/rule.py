"""When a trial of a rate has shown enough, and how a search for capacity goes about it."""

from __future__ import annotations

from dataclasses import dataclass

from legato.errors import LegatoError
from legato.metrics.sequential import ShareTest

SCOUT = 1 / 6  # of the evidence and the time of a thorough trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Where to look for a capacity, and how sure to be.

    Attributes:
        start: first rate tried, requests/s.
        highest: rates above it are not tried.
        precision: the search ends when the rate is known within this factor.
        duration: seconds that a rate has to be kept for, at least; queues need time to grow.
        longest: seconds after which a trial ends without certainty.
        margin: a share of fluid requests this far below the objective must not pass.
        risk: largest probability that one rate is judged wrongly.
    """

    start: float = 1.0
    highest: float = 1000.0
    precision: float = 1.1
    duration: float = 30.0
    longest: float = 180.0
    margin: float = 0.04
    risk: float = 0.05

    def __post_init__(self) -> None:
        rates = 0 < self.start <= self.highest and self.precision > 1
        if not (rates and 0 < self.duration <= self.longest):
            raise LegatoError(f"this search cannot end: {self}")

    def rule(self, share: float, *, thorough: bool) -> Rule:
        """The rule of a trial; one that is not thorough only shows where to look."""
        try:
            test = ShareTest(share=share, too_low=share - self.margin, risk=self.risk)
        except ValueError as error:
            raise LegatoError(
                f"a share of {share:g} cannot be told from one {self.margin:g} lower: both must "
                "lie between 0 and 1, and the risk between 0 and 0.5"
            ) from error
        effort = 1.0 if thorough else SCOUT
        return Rule(test, test.enough * effort, self.duration * effort)


@dataclass(frozen=True, slots=True)
class Rule:
    """Attributes:
    test: of the share of fluid requests.
    evidence: what suffices for a yes; a no always needs all that the test asks for.
    least_s: a yes takes this long.
    """

    test: ShareTest
    evidence: float
    least_s: float

    def verdict(self, fluid: int, requests: int, elapsed_s: float) -> bool | None:
        """Whether the share is kept; None while that is open."""
        found = self.test.evidence(fluid, requests - fluid)
        if found <= -self.test.enough:
            return False
        observed = requests > 0 and fluid / requests >= self.test.share
        if observed and found >= self.evidence and elapsed_s >= self.least_s:
            return True
        return None
