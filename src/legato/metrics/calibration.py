"""Whether a confidence means what it says: of answers given with 0.8, eight in ten are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar confidence.

    Attributes:
        count: how many, at least one.
        right: how many of them were right.
        confidence: their mean confidence.
    """

    count: int
    right: int
    confidence: float

    @property
    def accuracy(self) -> float:
        """Share of them that was right."""
        return self.right / self.count


@dataclass(frozen=True, slots=True)
class Calibration:
    """A reliability diagram and what it comes to.

    Attributes:
        bins: those that have answers, in order of confidence.
        brier: mean of (confidence − right)², 0 is best (Brier 1950).
        ece: expected calibration error, the mean distance of confidence and accuracy over the
            bins, weighted by their answers (Guo et al. 2017, arXiv 1706.04599, equation 3).
    """

    bins: tuple[Bin, ...]
    brier: float
    ece: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        bins = [{**asdict(each), "accuracy": each.accuracy} for each in self.bins]
        return {"bins": bins, "brier": self.brier, "ece": self.ece}


def calibrate(
    confidences: Sequence[float], rights: Sequence[bool], bins: int = BINS
) -> Calibration:
    """Judge `confidences`, in 0..1, by whether the answers were right.

    There are `bins` bins of equal width; a confidence on a border belongs to the upper one.
    ValueError without answers or with confidences outside.
    """
    if not confidences or not all(0 <= value <= 1 for value in confidences):
        raise ValueError("a calibration needs answers with confidences from 0 to 1")
    pairs = list(zip(confidences, rights, strict=True))
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, right in pairs:
        held[min(bins - 1, int(confidence * bins))].append((confidence, right))
    kept = tuple(_bin(members) for members in held if members)
    return Calibration(
        bins=kept,
        brier=sum((confidence - right) ** 2 for confidence, right in pairs) / len(pairs),
        ece=sum(b.count * abs(b.confidence - b.accuracy) for b in kept) / len(pairs),
    )


def _bin(members: Sequence[tuple[float, bool]]) -> Bin:
    confidence = sum(value for value, _ in members) / len(members)
    return Bin(len(members), sum(right for _, right in members), confidence)
