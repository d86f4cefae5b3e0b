"""What every strategy makes of the same samples.

Sample i of a question is a function of (seed, i) alone in this engine, whatever runs beside it and
however many are drawn at once. Strategies decide by the samples in order of their indices. So the
samples that an engine would have drawn for a strategy are the first ones of those that are there,
and its winner, votes and decisive sample are exactly what the engine comes to: one set of samples
compares all strategies, on equal luck. What an engine began beside them, to fill a step, is not in
these figures (`live.py` measures it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.best_of_n import BestOfN
from legato.adaptive.confidence import Confidence
from legato.adaptive.decisions import Strategy
from legato.adaptive.early_stopping import EarlyStopping
from legato.adaptive.outcome import replay
from legato.adaptive.samples import Sample
from legato.adaptive.self_consistency import SelfConsistency
from legato.adaptive.self_evaluation import SelfEvaluation
from legato.bench.adaptive.questions import Question
from legato.core import Outcome

SINGLE = "single sample"


@dataclass(frozen=True, slots=True)
class Answered:
    """A question of the set named `set`, and all its samples in order of index."""

    set: str
    question: Question
    samples: tuple[Sample, ...]

    def is_right(self, answer: str | None) -> bool:
        """Whether `answer` is the known one."""
        return answer == self.question.answer


@dataclass(frozen=True, slots=True)
class Contender:
    """A strategy under the name that it has in tables."""

    name: str
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Decided:
    """What a strategy came to at one question.

    Attributes:
        answer: the winner's; None where it has none.
        right: whether that is the known one.
        samples: that it took.
        tokens: of these samples.
        machine_ns: machine time of these samples when they were drawn.
        confidence: how sure it was, by its own measure; None where it has none.
    """

    answer: str | None
    right: bool
    samples: int
    tokens: int
    machine_ns: int
    confidence: float | None = None


def baseline(max_samples: int) -> Contender:
    """What all others are compared with: the majority of `max_samples`."""
    return Contender(f"self-consistency, {max_samples}", SelfConsistency(max_samples))


def contenders(max_samples: int, *, self_evaluation: bool = False) -> list[Contender]:
    """The strategies of a comparison, the baseline first.

    `self_evaluation` says whether the samples have one.
    """
    smaller = [count for count in (1, 4, 8) if count < max_samples]
    chosen = [
        baseline(max_samples),
        *(Contender(_fixed(count), SelfConsistency(count)) for count in reversed(smaller)),
        Contender(f"best of {max_samples}", BestOfN(max_samples)),
        *(
            Contender(f"adaptive consistency, C = {c}", AdaptiveConsistency(max_samples, c))
            for c in (0.99, 0.95, 0.9, 0.8)
        ),
        *(
            Contender(f"early stopping, window {w}", EarlyStopping(max_samples, w))
            for w in (5, 4, 3)
            if w <= max_samples
        ),
        Contender("confidence, 0.9", Confidence(max_samples, 0.9)),
    ]
    if self_evaluation:
        chosen.append(Contender("self-evaluation, 0.5", SelfEvaluation(max_samples, 0.5)))
    return chosen


def _fixed(count: int) -> str:
    return SINGLE if count == 1 else f"self-consistency, {count}"


def decide(strategy: Strategy, answered: Answered) -> Decided:
    """What `strategy` comes to at a question."""
    return from_outcome(answered, replay(strategy, answered.samples))


def from_outcome(answered: Answered, outcome: Outcome) -> Decided:
    """What `outcome` is worth at a question."""
    return Decided(
        answer=outcome.answer,
        right=answered.is_right(outcome.answer),
        samples=outcome.counted,
        tokens=outcome.tokens,
        machine_ns=outcome.machine_ns,
        confidence=outcome.confidence,
    )


def decide_all(strategy: Strategy, questions: Sequence[Answered]) -> list[Decided]:
    """What `strategy` comes to at each of `questions`."""
    return [decide(strategy, answered) for answered in questions]


def majority_of(answered: Answered, count: int) -> Decided:
    """What the majority of the first `count` samples comes to."""
    return decide(SelfConsistency(count), answered)
