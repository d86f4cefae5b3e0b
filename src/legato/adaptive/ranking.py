"""Choosing among samples by a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from legato.adaptive.decisions import Decision, Draw, Stop
from legato.adaptive.samples import Sample

Score = Callable[[Sample], float]


def likelihood(sample: Sample) -> float:
    """Geometric mean of the probabilities of its tokens, in 0..1: exp(mean log-probability).

    0 where the log-probabilities are not known or the sample was pruned.
    """
    if sample.mean_logprob is None or sample.pruned:
        return 0.0
    return math.exp(min(0.0, sample.mean_logprob))


def self_evaluated(sample: Sample) -> float:
    """What the model itself thinks of it, in 0..1; 0 where it was not asked or was pruned."""
    if sample.self_evaluation is None or sample.pruned:
        return 0.0
    return sample.self_evaluation


def highest(samples: Sequence[Sample], score: Score) -> Stop:
    """The sample with the highest score; of equals the first. Its score is the confidence."""
    winner = max(samples, key=score)  # the first of equals
    return Stop(winner.index, score(winner))


def until_sure(
    samples: Sequence[Sample], score: Score, confidence: float, max_samples: int
) -> Decision:
    """The highest as soon as one has a score of at least `confidence`, or there are
    `max_samples`; else one more."""
    sure = any(score(sample) >= confidence for sample in samples)
    return highest(samples, score) if sure or len(samples) >= max_samples else Draw(1)
