"""Giving up weak samples in the midst of their generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prune:
    """Give these samples up: they end now and count for nothing."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How good a sample was on its way.

    Attributes:
        scores: at each checkpoint that it has passed.
        final: at its end; None while it runs.
    """

    scores: tuple[float, ...] = ()
    final: float | None = None

    def at(self, checkpoint: int) -> float | None:
        """Its score there, the final one where it ended before; None where it has not come."""
        return self.scores[checkpoint] if checkpoint < len(self.scores) else self.final


@dataclass(frozen=True, slots=True)
class Pruning:
    """At every `every`-th token a sample is given up whose score is more than `margin` below the
    best of the samples before it.

    The score is the mean log-probability so far (`margin` in nats), or the self-evaluation
    (Manvi et al. 2024, arXiv 2410.02725, section 4.3; `margin` a difference of probabilities).

    A sample is compared with those of smaller index alone, at the same number of tokens or at
    their end: who is given up is a function of the samples, never of which of them ran first.
    Sample 0 stays.
    """

    every: int
    margin: float

    def decide(self, progress: Sequence[Progress]) -> Prune:
        """All samples that are weak as far as is known; `progress` is in order of index.

        What is known only grows: a sample named once is named again.
        """
        weak: dict[int, int] = {}  # index → the checkpoint at which it is given up
        for index, own in enumerate(progress):
            for checkpoint, score in enumerate(own.scores):
                best = _best_before(progress, index, checkpoint, weak)
                if best is None:
                    break
                if score < best - self.margin:
                    weak[index] = checkpoint
                    break
        return Prune(tuple(weak))


def _best_before(
    progress: Sequence[Progress], index: int, checkpoint: int, weak: dict[int, int]
) -> float | None:
    """The best score at `checkpoint` of the samples before `index`, those given up left out; None
    while one of them has not come so far."""
    best = float("-inf")
    for earlier in range(index):
        if weak.get(earlier, checkpoint) < checkpoint:
            continue
        score = progress[earlier].at(checkpoint)
        if score is None:
            return None
        best = max(best, score)
    return best
