"""What came of a question: the winner, and what it took."""

from __future__ import annotations

from collections.abc import Sequence

from legato.adaptive.decisions import Stop, Strategy
from legato.adaptive.samples import Sample
from legato.adaptive.votes import count_votes
from legato.core import Outcome


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
