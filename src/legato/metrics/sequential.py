"""Whether a share is kept, decided with as few observations as certainty needs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareTest:
    """Sequential probability ratio test (Wald 1945) of `share` against `too_low`.

    Observations are taken to be independent. A true share between the two may pass or not.

    Attributes:
        share: what is asked for, such as 0.99.
        too_low: what must not pass for it, below `share`.
        risk: the largest probability of a wrong answer, on either side.
    """

    share: float
    too_low: float
    risk: float

    def __post_init__(self) -> None:
        if not (0 < self.too_low < self.share < 1 and 0 < self.risk < 0.5):
            raise ValueError(f"this test cannot decide anything: {self}")

    def evidence(self, hits: int, misses: int) -> float:
        """Logarithm of the likelihood ratio: above 0 for `share`, below 0 for `too_low`."""
        hit = math.log(self.share / self.too_low)
        miss = math.log((1 - self.share) / (1 - self.too_low))
        return hits * hit + misses * miss

    @property
    def enough(self) -> float:
        """The evidence that decides, on either side."""
        return math.log((1 - self.risk) / self.risk)
