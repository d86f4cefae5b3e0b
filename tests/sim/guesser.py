"""A speculator that knows what the fake backend will say, and lies as often as it is told to."""

from __future__ import annotations

from collections.abc import Sequence as List
from random import Random

from legato.core import FinishReason
from legato.scheduler.batch import NO_DRAFTING, Drafting
from legato.scheduler.budget import StepBudget
from legato.scheduler.sequence import Sequence
from legato.scheduler.stats import SpeculationFigures
from null.fake_backend import VOCAB
from sim.wishes import Sample

DEEPEST = 5


class Guesser:
    """Drafts of random length for random sequences, right with probability `honesty`."""

    def __init__(self, windows: tuple[int | None, ...], random: Random, honesty: float) -> None:
        self._windows = windows
        self._random = random
        self._honesty = honesty
        self.accepted = self.drafted = 0

    @property
    def figures(self) -> SpeculationFigures:
        return SpeculationFigures(drafted=self.drafted, accepted=self.accepted)

    @property
    def drafting(self) -> Drafting:
        return NO_DRAFTING

    @property
    def ahead(self) -> int:
        return self._random.choice([0, 0, 3])

    def wants(self, decodes: int) -> bool:
        assert decodes > 0
        return self._random.random() < 0.8

    def propose(self, limits: dict[Sequence, int], budget: StepBudget) -> dict[Sequence, List[int]]:
        drafts: dict[Sequence, List[int]] = {}
        rows = budget.rows
        for sequence, limit in limits.items():
            count = min(self._random.randint(0, DEEPEST), limit, rows)
            if count > 0:
                drafts[sequence] = self._guess(sequence, count)
                rows -= len(drafts[sequence])
        return drafts

    def verified(self, sequence: Sequence, draft: List[int], accepted: int) -> None:
        assert 0 <= accepted <= len(draft)
        self.drafted += len(draft)
        self.accepted += accepted

    def forget(self, sequence: Sequence) -> None:
        pass

    def close(self) -> None:
        pass

    def _guess(self, sequence: Sequence, count: int) -> list[int]:
        sample = Sample(sequence.request, sequence.index, self._windows, sequence.length_limit)
        sample.tokens = sequence.tokens.tolist()
        reason: FinishReason | None = None
        guessed: list[int] = []
        while len(guessed) < count:
            token, reason = sample.expect() if reason is None else (0, reason)
            if self._random.random() > self._honesty:
                token = self._random.randrange(VOCAB)
            sample.tokens.append(token)
            guessed.append(token)
        return guessed
