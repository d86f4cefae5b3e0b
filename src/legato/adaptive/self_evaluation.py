"""Self-evaluation: samples until the model thinks that another try would not be better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from legato.adaptive.decisions import Decision, Stop
from legato.adaptive.ranking import highest, self_evaluated, until_sure
from legato.adaptive.samples import Sample


@dataclass(frozen=True, slots=True)
class SelfEvaluation:
    """After each sample the model is asked whether it could do better if it started over; the
    probability of one predefined token, the "no", is the sample's score. Stop at the first score
    of at least `confidence`; otherwise the highest of all (Manvi et al. 2024, arXiv 2410.02725).
    `pruning.py` uses the same score in the midst of a sample.
    """

    max_samples: int
    confidence: float
    needs_answer: ClassVar[bool] = False
    needs_logprobs: ClassVar[bool] = False
    needs_self_evaluation: ClassVar[bool] = True

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """Stop with a sample that is good enough, or with all samples."""
        return until_sure(samples, self_evaluated, self.confidence, self.max_samples)

    def best(self, samples: Sequence[Sample]) -> Stop:
        """The one that the model thinks best of."""
        return highest(samples, self_evaluated)
