"""Self-consistency: always as many samples, and the answer that most of them give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from legato.adaptive.decisions import Decision, Draw, Stop
from legato.adaptive.samples import Sample
from legato.adaptive.votes import majority


@dataclass(frozen=True, slots=True)
class SelfConsistency:
    """A baseline: the majority of `max_samples` answers (Wang et al. 2022, arXiv 2203.11171)."""

    max_samples: int
    needs_answer: ClassVar[bool] = True
    needs_logprobs: ClassVar[bool] = False
    needs_self_evaluation: ClassVar[bool] = False

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """Stop with all samples."""
        missing = self.max_samples - len(samples)
        return Draw(missing) if missing > 0 else self.best(samples)

    def best(self, samples: Sequence[Sample]) -> Stop:
        """The majority; see `votes.majority` for ties."""
        return majority(samples)
