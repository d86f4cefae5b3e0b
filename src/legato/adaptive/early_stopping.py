"""Early-stopping windows: samples until a whole window of them agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from legato.adaptive.decisions import Decision, Draw, Stop
from legato.adaptive.samples import Sample
from legato.adaptive.votes import majority


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Draw windows of `window` samples; stop after one in which all give the same answer, whose
    distribution has no entropy (Li et al. 2024, arXiv 2401.10480).

    A window in which a sample has no answer does not agree. The winner is the majority of all
    samples drawn.
    """

    max_samples: int
    window: int
    needs_answer: ClassVar[bool] = True
    needs_logprobs: ClassVar[bool] = False
    needs_self_evaluation: ClassVar[bool] = False

    def decide(self, samples: Sequence[Sample]) -> Decision:
        """Stop at the end of a window that agrees, or with all samples."""
        count = len(samples)
        missing = self.max_samples - count
        begun = count % self.window
        if missing <= 0 or (count and not begun and _agree(samples[-self.window :])):
            return self.best(samples)
        return Draw(min(missing, self.window - begun))

    def best(self, samples: Sequence[Sample]) -> Stop:
        """The majority; see `votes.majority` for ties."""
        return majority(samples)


def _agree(samples: Sequence[Sample]) -> bool:
    answers = {None if sample.pruned else sample.answer for sample in samples}
    return len(answers) == 1 and None not in answers
