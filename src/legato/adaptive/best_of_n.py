"""Best of N: always as many samples, and the likeliest of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from legato.adaptive.decisions import Decision, Draw, Stop
from legato.adaptive.ranking import highest, likelihood
from legato.adaptive.samples import Sample


@dataclass(frozen=True, slots=True)
class BestOfN:
    """A baseline: the sample with the highest mean log-probability of `max_samples`."""

    max_samples: int
    needs_answer: ClassVar[bool] = False
    needs_logprobs: ClassVar[bool] = True
    needs_self_evaluation: ClassVar[bool] = False

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """Stop with all samples."""
        missing = self.max_samples - len(samples)
        return Draw(missing) if missing > 0 else self.best(samples)

    def best(self, samples: Sequence[Sample]) -> Stop:
        """The likeliest of them."""
        return highest(samples, likelihood)
