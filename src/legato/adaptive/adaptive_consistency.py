"""Adaptive consistency: samples until the leading answer is the majority, as good as surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from legato.adaptive.decisions import Decision, Draw, Stop
from legato.adaptive.samples import Sample
from legato.adaptive.votes import count_votes, majority, majority_probability, top_two


@dataclass(frozen=True, slots=True)
class AdaptiveConsistency:
    """Stop where P(the leading answer is the majority) ≥ `confidence` by the Beta criterion.

    Aggarwal et al. 2023, arXiv 2305.11860: the paper's cheaper criterion, which compares the two
    leading answers. With 0.95 it stops first at 4–0, 6–1, 8–2 and 9–3 votes.

    Beyond the paper it also stops where the samples that are left could not change the leader:
    the answer is then that of all `max_samples`.
    """

    max_samples: int
    confidence: float
    needs_answer: ClassVar[bool] = True
    needs_logprobs: ClassVar[bool] = False
    needs_self_evaluation: ClassVar[bool] = False

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """Stop when sure enough, or when more samples change nothing."""
        missing = self.max_samples - len(samples)
        first, second = top_two(count_votes(samples))
        if missing <= 0 or (first and self._is_decided(first, second, missing)):
            return self.best(samples)
        return Draw(self._fewest(first, second, missing))

    def best(self, samples: Sequence[Sample]) -> Stop:
        """The majority; see `votes.majority` for ties."""
        return majority(samples)

    def _fewest(self, first: int, second: int, most: int) -> int:
        """Votes that the leader still needs, if it gets all of them; at most `most`."""
        for count in range(1, most):
            if self._is_decided(first + count, second, most - count):
                return count
        return most

    def _is_decided(self, first: int, second: int, missing: int) -> bool:
        is_sure = majority_probability(first, second) >= self.confidence
        return is_sure or first - second > missing
