"""What verification teaches: how often drafted tokens are right, by confidence and place.

The target's token at each position is a function of (logits, seed, position), so a draft is right
exactly where it equals that token: no rejection step, and nothing changes but the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, count
from operator import mul

DECAY = 0.95
"""Weight that what was learnt keeps when a drafted token is verified."""

PRIOR_TRIALS = 3.0
"""Verified tokens that a prior counts for."""

PLACES = 4
"""Places in a draft that are told apart; later ones count as the last."""

Rates = Sequence[Sequence[float]]
"""By confidence class and place: the probability that a drafted token is right when all before
it were."""

PRIOR_RATES: Rates = tuple(
    (first, *[rest] * (PLACES - 1))
    for first, rest in ((0.2, 0.4), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 0.95))
)
"""To begin with, for a match of up to 1, 2, 4, 8, 16 tokens and longer ones."""


class Acceptance:
    """Running rates of acceptance.

    A drafted token is a trial given that all before it were accepted; tokens behind a wrong one
    were not tried. Old trials fade. Where nothing was tried the prior's rate holds.
    """

    def __init__(self, priors: Rates = PRIOR_RATES) -> None:
        """Classes and places beyond those of `priors` take the last of them."""
        self._right = [[PRIOR_TRIALS * rate for rate in places] for places in priors]
        self._trials = [[PRIOR_TRIALS] * len(places) for places in priors]
        self._rates = [list(places) for places in priors]

    @property
    def rates(self) -> list[list[float]]:
        """The rates now."""
        return [list(places) for places in self._rates]

    def rate(self, confidence: int, place: int) -> float:
        """Probability that the token at `place` of a draft is right when those before it were."""
        places = self._rates[min(confidence, len(self._rates) - 1)]
        return places[min(place, len(places) - 1)]

    def gains(self, confidence: int, number: int) -> list[float]:
        """Expected tokens that the 1st, 2nd … of `number` drafted ones adds; they never rise."""
        return self.chain_gains([confidence] * number)

    def observe(self, confidence: int, drafted: int, accepted: int) -> None:
        """A draft of `drafted` tokens was verified and the first `accepted` of them were right."""
        self.observe_chain([confidence] * drafted, accepted)

    def chain_gains(self, classes: Sequence[int]) -> list[float]:
        """`gains` where each drafted token has a class of its own."""
        return list(accumulate(map(self.rate, classes, count()), mul))

    def observe_chain(self, classes: Sequence[int], accepted: int) -> None:
        """`observe` where each drafted token has a class of its own."""
        for place, confidence in enumerate(classes[: accepted + 1]):
            known = min(confidence, len(self._right) - 1)
            right, trials = self._right[known], self._trials[known]
            at = min(place, len(right) - 1)
            right[at] = DECAY * right[at] + (place < accepted)
            trials[at] = DECAY * trials[at] + 1
            self._rates[known][at] = right[at] / trials[at]
