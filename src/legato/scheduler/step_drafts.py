"""Lets the sequences of a step that decode verify drafts, where somebody makes any."""

from __future__ import annotations

import logging
from collections.abc import Sequence as List

from legato.kvcache.cache import KVCache
from legato.scheduler.batch import NO_DRAFTING, Drafting
from legato.scheduler.budget import StepBudget
from legato.scheduler.drafts import Speculator, draft_limit
from legato.scheduler.sequence import Sequence
from legato.scheduler.stats import NO_DRAFTS, SpeculationFigures

_log = logging.getLogger(__name__)


class StepDrafts:
    """Stands between the scheduler and its speculator, which may be absent or fail."""

    def __init__(self, cache: KVCache, speculator: Speculator | None) -> None:
        self._cache = cache
        self._speculator = speculator

    @property
    def figures(self) -> SpeculationFigures:
        """What became of drafts."""
        return self._speculator.figures if self._speculator else NO_DRAFTS

    def wants(self, decodes: int) -> bool:
        """Whether drafts are to be made in the step that begins, in which `decodes` decode."""
        return self._speculator is not None and decodes > 0 and self._speculator.wants(decodes)

    def plan(
        self,
        rows: dict[Sequence, int],
        decodes: List[Sequence],
        budget: StepBudget,
        faults: list[tuple[Sequence, Exception]],
    ) -> Drafting:
        """Add drafts to `rows`, as far as it pays and nobody has to give way.

        Gives what making them took. What goes wrong with one sequence is noted in `faults`.
        """
        speculator = self._speculator
        limits = self._limits([sequence for sequence in decodes if sequence in rows], faults)
        if speculator is None or not limits:
            return NO_DRAFTING
        for sequence, draft in _proposals(speculator, limits, budget).items():
            try:
                rows[sequence] += self._take(sequence, draft)
            except Exception as error:
                faults.append((sequence, error))
        return speculator.drafting

    def verified(self, sequence: Sequence, draft: List[int], accepted: int) -> None:
        """The target chose the first `accepted` tokens of `draft` itself."""
        if draft and self._speculator is not None:
            self._speculator.verified(sequence, draft, accepted)

    def forget(self, sequence: Sequence) -> None:
        """`sequence` has ended."""
        if self._speculator is not None:
            self._speculator.forget(sequence)

    def close(self) -> None:
        """Release the speculator."""
        if self._speculator is not None:
            self._speculator.close()

    def _take(self, sequence: Sequence, draft: List[int]) -> int:
        """Let `sequence` verify as much of `draft` as there is room for now; how many tokens."""
        assert sequence.table is not None
        room = draft_limit(sequence, self._cache)  # drafts before this one took blocks
        sequence.draft = draft[:room]
        self._cache.extend(sequence.table, sequence.num_tokens + len(sequence.draft))
        return len(sequence.draft)

    def _limits(
        self, sequences: List[Sequence], faults: list[tuple[Sequence, Exception]]
    ) -> dict[Sequence, int]:
        limits: dict[Sequence, int] = {}
        for sequence in sequences:
            try:
                limits[sequence] = self._limit(sequence)
            except Exception as error:
                faults.append((sequence, error))
        return limits

    def _limit(self, sequence: Sequence) -> int:
        """Most tokens to draft for `sequence`, which gets the blocks to draft them in."""
        limit = draft_limit(sequence, self._cache)
        ahead = min(limit, self._speculator.ahead) if self._speculator else 0
        if ahead:
            assert sequence.table is not None
            self._cache.extend(sequence.table, sequence.num_tokens + ahead)
        return limit


def _proposals(
    speculator: Speculator, limits: dict[Sequence, int], budget: StepBudget
) -> dict[Sequence, List[int]]:
    """Drafts; none where the drafter fails, which costs time and nothing else."""
    try:
        return speculator.propose(limits, budget)
    except Exception:
        _log.exception("nothing is drafted in this step")
        return {}
