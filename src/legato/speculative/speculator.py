"""Speculation over a batch: which sequence drafts how much, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass

from legato.scheduler.budget import StepBudget
from legato.scheduler.sequence import Sequence
from legato.scheduler.stats import SpeculationFigures
from legato.speculative.accept import Acceptance
from legato.speculative.depth import choose_depths
from legato.speculative.draft import Draft, Drafter

MAX_DEPTH = 16
"""Most tokens that are drafted for one sequence where the depth is chosen by prediction."""


@dataclass(slots=True)
class _State:
    """The draft of one sequence, which knows its first `known` tokens."""

    draft: Draft
    acceptance: Acceptance
    known: int = 0
    confidence: int = 0


class BatchSpeculator:
    """Drafts for every sequence that decodes, as deep as is predicted to pay."""

    def __init__(self, drafter: Drafter, depth: int = 0) -> None:
        """`depth` tokens for every draft, where time is left; 0 chooses by prediction."""
        self._figures = SpeculationFigures()
        self._drafter = drafter
        self._depth = depth
        self._overall = Acceptance()
        self._states: dict[Sequence, _State] = {}

    @property
    def figures(self) -> SpeculationFigures:
        """See `scheduler.drafts.Speculator`."""
        return self._figures

    def propose(self, limits: dict[Sequence, int], budget: StepBudget) -> dict[Sequence, List[int]]:
        """See `scheduler.drafts.Speculator`."""
        most = self._depth or MAX_DEPTH
        proposals: list[tuple[Sequence, list[int]]] = []
        for sequence, limit in limits.items():
            state = self._state(sequence)
            wanted = min(limit, _own_depth(sequence, most))
            if wanted and (tokens := state.draft.propose(wanted)):
                proposals.append((sequence, tokens))
        if not proposals:
            return {}
        depths = self._depths(proposals, len(limits), budget)
        return {s: tokens[:n] for (s, tokens), n in zip(proposals, depths, strict=True) if n}

    def verified(self, sequence: Sequence, draft: List[int], accepted: int) -> None:
        """See `scheduler.drafts.Speculator`."""
        state = self._states[sequence]
        self._figures = self._figures.with_draft(len(draft), accepted)
        self._overall.observe(state.confidence, len(draft), accepted)
        state.acceptance.observe(state.confidence, len(draft), accepted)

    def forget(self, sequence: Sequence) -> None:
        """See `scheduler.drafts.Speculator`."""
        state = self._states.pop(sequence, None)
        if state is not None:
            state.draft.finish(sequence.tokens[sequence.num_prompt :].tolist())

    def _state(self, sequence: Sequence) -> _State:
        """The state of `sequence`, told of all of its tokens."""
        state = self._states.get(sequence)
        if state is None:
            draft = self._drafter.open(sequence.request.cache_salt)
            state = _State(draft, Acceptance(self._overall.rates))
            self._states[sequence] = state
        if state.known < sequence.num_tokens:
            state.draft.extend(sequence.tokens[state.known :].tolist())
            state.known = sequence.num_tokens
        state.confidence = state.draft.confidence
        return state

    def _depths(
        self, proposals: list[tuple[Sequence, list[int]]], num_decodes: int, budget: StepBudget
    ) -> list[int]:
        past = sum(s.num_computed for s, _ in proposals) // len(proposals)

        def step_ns(rows: int) -> float:
            return max(1.0, budget.plan.ns_widened(rows, past))

        if self._depth:
            return _fixed_depths([len(tokens) for _, tokens in proposals], budget.rows)
        gains = [
            self._states[sequence].acceptance.gains(self._states[sequence].confidence, len(tokens))
            for sequence, tokens in proposals
        ]
        idle = num_decodes - len(proposals)
        return choose_depths([*gains, *[()] * idle], step_ns, budget.limit_ns, budget.rows)[
            : len(proposals)
        ]


def _own_depth(sequence: Sequence, most: int) -> int:
    """The request's own depth where it has one."""
    own = sequence.request.draft_tokens
    return most if own is None else min(own, most)


def _fixed_depths(lengths: list[int], max_rows: int) -> list[int]:
    depths = []
    for length in lengths:
        depths.append(min(length, max_rows))
        max_rows -= depths[-1]
    return depths
