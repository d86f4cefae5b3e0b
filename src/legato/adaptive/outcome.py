"""What came of a question: the winner, and what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from legato.adaptive.decisions import Stop, Strategy
from legato.adaptive.samples import Sample
from legato.adaptive.votes import count_votes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a question.

    Attributes:
        winner: index of the sample whose text is the answer.
        answer: the winner's, normalised; None where it has none or answers are not read.
        votes: answer → samples that gave it, most first; of the samples that counted.
        confidence: how sure the strategy is, by its own measure; None where it has none.
        counted: samples that entered the decision: the first so many.
        drawn: samples that were begun, at least as many.
        pruned: of them, given up on their way.
        saved: samples that might have been drawn and were not.
        tokens: generated, in all samples.
        machine_ns: machine time of all samples.
    """

    winner: int
    answer: str | None
    votes: Mapping[str, int]
    confidence: float | None
    counted: int
    drawn: int
    pruned: int
    saved: int
    tokens: int
    machine_ns: int


def first_stop(strategy: Strategy, samples: Sequence[Sample]) -> tuple[Stop, int] | None:
    """The decision of `strategy` and after how many of `samples` it falls, taken in order of
    index one by one; None while it wants more. All of `samples` have finished."""
    for count in range(1, len(samples) + 1):
        decision = strategy.decide(samples[:count])
        if isinstance(decision, Stop):
            return decision, count
    return None


def replay(strategy: Strategy, samples: Sequence[Sample]) -> Outcome:
    """What `strategy` makes of `samples`, all finished and in order of index, drawing them one
    after another until it stops. ValueError where it wants more than there are.

    An engine comes to the same winner and votes, in waves and whatever runs beside.
    """
    stop = first_stop(strategy, samples)
    if stop is None:
        raise ValueError(f"the strategy wants more than the {len(samples)} samples that there are")
    decision, count = stop
    return make_outcome(decision, samples[:count], samples[:count], strategy.max_samples)


def make_outcome(
    stop: Stop, counted: Sequence[Sample], drawn: Sequence[Sample], max_samples: int
) -> Outcome:
    """The outcome `stop`, decided by `counted`, after `drawn` were begun."""
    winner = next(sample for sample in drawn if sample.index == stop.winner)
    return Outcome(
        winner=stop.winner,
        answer=winner.answer,
        votes=count_votes(counted),
        confidence=stop.confidence,
        counted=len(counted),
        drawn=len(drawn),
        pruned=sum(sample.pruned for sample in drawn),
        saved=max(0, max_samples - len(drawn)),
        tokens=sum(sample.tokens for sample in drawn),
        machine_ns=sum(sample.machine_ns for sample in drawn),
    )
