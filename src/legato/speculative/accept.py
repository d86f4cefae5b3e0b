"""Verification by shared noise, and what is learnt from it.

The target's token at each position is a function of (logits, seed, position), so a draft is right
exactly where it equals that token: no rejection step, and nothing changes but the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

DECAY = 0.9
"""Weight that what was learnt keeps when a draft is verified."""

PRIOR = 2.0
"""Verifications that the prior estimate counts for."""


def num_accepted(draft: Sequence[int], chosen: Sequence[int]) -> int:
    """How many drafted tokens the target chose itself, up to the first that it did not."""
    for count, (guess, token) in enumerate(zip(draft, chosen, strict=False)):
        if guess != token:
            return count
    return min(len(draft), len(chosen))


class Acceptance:
    """Running acceptance rates of one drafter, a rate for each confidence class.

    A drafted token is a Bernoulli trial given that all before it were accepted; trials that were
    not reached say nothing. Old trials fade. A class without trials has the prior's rate.
    """

    def __init__(self, priors: Sequence[float]) -> None:
        """`priors[c]`: the rate to begin with in class c; classes beyond take the last."""
        self._priors = list(priors)
        self._right = [PRIOR * rate for rate in self._priors]
        self._trials = [PRIOR] * len(self._priors)

    def rate(self, confidence: int) -> float:
        """Probability that a drafted token of that class is right when those before it were."""
        place = min(confidence, len(self._priors) - 1)
        return self._right[place] / self._trials[place]

    def observe(self, confidence: int, drafted: int, accepted: int) -> None:
        """A draft of `drafted` tokens was verified and `accepted` of them were right."""
        if not drafted:
            return
        place = min(confidence, len(self._priors) - 1)
        trials = accepted + (accepted < drafted)
        self._right[place] = DECAY * self._right[place] + accepted
        self._trials[place] = DECAY * self._trials[place] + trials


def gains(rate: float, count: int) -> list[float]:
    """Expected tokens that the 1st, 2nd … drafted token adds: rate, rate², …"""
    return list(accumulate([rate] * count, mul))


def expected_tokens(rate: float, count: int) -> float:
    """Tokens a step gives with `count` drafts: (1 − a^{k+1}) / (1 − a), the target's own included
    (Leviathan et al. 2023, arXiv 2211.17192, equation 1)."""
    return 1.0 + sum(gains(rate, count))
