"""Confidence: samples until one is likely enough by the model's own probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from legato.adaptive.decisions import Decision, Stop
from legato.adaptive.ranking import highest, likelihood, until_sure
from legato.adaptive.samples import Sample


@dataclass(frozen=True, slots=True)
class Confidence:
    """Stop at the first sample whose tokens have a geometric mean probability of at least
    `confidence`, that is exp(mean log-probability); otherwise the likeliest of all.

    The length-normalised sequence probability is the usual baseline of uncertainty (Malinin and
    Gales 2021, arXiv 2002.07650, section 3).
    """

    max_samples: int
    confidence: float
    needs_answer: ClassVar[bool] = False
    needs_logprobs: ClassVar[bool] = True
    needs_self_evaluation: ClassVar[bool] = False

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """Stop with a sample that is likely enough, or with all samples."""
        return until_sure(samples, likelihood, self.confidence, self.max_samples)

    def best(self, samples: Sequence[Sample]) -> Stop:
        """The likeliest of them."""
        return highest(samples, likelihood)
