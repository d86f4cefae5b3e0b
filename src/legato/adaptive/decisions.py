"""What a strategy may say, and what it needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from legato.adaptive.samples import Sample


@dataclass(frozen=True, slots=True)
class Stop:
    """Enough: the answer is that of sample `winner`.

    `confidence` is how sure the rule is, 0..1, by its own measure; None where it has none.
    """

    winner: int
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """More are needed: with fewer than `count` further samples the rule cannot stop."""

    count: int


Decision = Stop | Draw


class Strategy(Protocol):
    """A pure rule over the samples so far.

    Attributes:
        max_samples: most samples that it draws.
        needs_answer: whether it counts answers, so that a rule to read them is needed.
        needs_logprobs: whether it looks at `Sample.mean_logprob`.
        needs_self_evaluation: whether it looks at `Sample.self_evaluation`.
    """

    @property
    def max_samples(self) -> int: ...  # noqa: D102 - see above

    @property
    def needs_answer(self) -> bool: ...  # noqa: D102

    @property
    def needs_logprobs(self) -> bool: ...  # noqa: D102

    @property
    def needs_self_evaluation(self) -> bool: ...  # noqa: D102

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """What to do after `samples`, all of them finished, in order of index from 0 without gaps.

        Draws at least one sample where there is none, never more than `max_samples` in all, and
        stops where there are that many.
        """
        ...

    def best(self, samples: Sequence[Sample]) -> Stop:
        """The winner among `samples`, at least one, if nothing more can be drawn."""
        ...
