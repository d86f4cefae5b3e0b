"""One budget of samples for all questions together, against as many for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from legato.adaptive.sharing import share_samples
from legato.adaptive.votes import count_votes, top_two
from legato.bench.adaptive.replay import Answered, Decided, majority_of

ROUNDS = 8
"""How often a budget is divided: each time with what the samples so far have shown."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """`samples` a question on average, and the share of right answers that they gave."""

    samples: float
    accuracy: float


def share_budget(questions: Sequence[Answered], average: float) -> list[Decided]:
    """Divide `average` samples a question among all of them; each has at least one.

    Never more than there are samples of a question.
    """
    rest = max(0, round(average * len(questions)) - len(questions))
    counts = [1] * len(questions)
    for round_number in range(ROUNDS):
        part = rest // (ROUNDS - round_number)
        given = share_samples(
            [_votes(q, count) for q, count in zip(questions, counts, strict=True)],
            part,
            [len(q.samples) - count for q, count in zip(questions, counts, strict=True)],
        )
        counts = [count + more for count, more in zip(counts, given, strict=True)]
        rest -= sum(given)
    return [majority_of(q, count) for q, count in zip(questions, counts, strict=True)]


def shared_curve(questions: Sequence[Answered]) -> list[CurvePoint]:
    """Accuracy by the average number of samples where one budget is shared."""
    most = min(len(answered.samples) for answered in questions)
    return [_point(share_budget(questions, average)) for average in range(1, most + 1)]


def even_curve(questions: Sequence[Answered]) -> list[CurvePoint]:
    """Accuracy by the number of samples where every question gets as many."""
    most = min(len(answered.samples) for answered in questions)
    counts = range(1, most + 1)
    return [_point([majority_of(q, count) for q in questions]) for count in counts]


def _votes(answered: Answered, count: int) -> tuple[int, int]:
    return top_two(count_votes(answered.samples[:count]))


def _point(decided: Sequence[Decided]) -> CurvePoint:
    return CurvePoint(
        samples=sum(each.samples for each in decided) / len(decided),
        accuracy=sum(each.right for each in decided) / len(decided),
    )
