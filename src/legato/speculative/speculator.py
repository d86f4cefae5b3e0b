"""Speculation over a batch: which sequence drafts how much, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass

from legato.clock import Clock
from legato.scheduler.batch import NO_DRAFTING, Drafting
from legato.scheduler.budget import StepBudget
from legato.scheduler.sequence import Sequence
from legato.scheduler.stats import SpeculationFigures
from legato.speculative.accept import Acceptance
from legato.speculative.account import DraftAccount
from legato.speculative.depth import choose_depths, longest_ns
from legato.speculative.draft import Draft, Drafter
from legato.speculative.rota import Rota, RowPrices, RowTimes

MAX_DEPTH = 16
"""Most tokens that are drafted for one sequence where the depth is chosen by prediction."""


@dataclass(slots=True)
class _State:
    """The draft of one sequence, which knows its first `known` tokens; `classes` are those of the
    tokens that it proposed last."""

    draft: Draft
    acceptance: Acceptance
    known: int = 0
    classes: List[int] = ()


@dataclass(slots=True)
class _Proposal:
    """Tokens that may come next, and how many of them each is expected to be right."""

    sequence: Sequence
    tokens: list[int]
    gains: list[float]


class BatchSpeculator:
    """Drafts for every sequence that decodes, as deep as is predicted to pay."""

    def __init__(self, drafter: Drafter, depth: int = 0, clock: Clock | None = None) -> None:
        """`depth` tokens for every draft, where time is left; 0 chooses by prediction. `clock`
        measures the time that drafting takes; without one it counts as none."""
        self._drafter = drafter
        self._depth = depth
        self._clock = clock
        self._account = DraftAccount()
        self._overall = Acceptance(drafter.priors)
        self._states: dict[Sequence, _State] = {}
        self._rota = Rota()
        self._prices = RowPrices()

    @property
    def figures(self) -> SpeculationFigures:
        """See `scheduler.drafts.Speculator`."""
        return self._account.figures

    def wants(self, decodes: int) -> bool:
        """See `scheduler.drafts.Speculator`."""
        return self._rota.begin(decodes) or self._depth > 0

    @property
    def drafting(self) -> Drafting:
        """See `scheduler.drafts.Speculator`."""
        return NO_DRAFTING

    @property
    def ahead(self) -> int:
        """See `scheduler.drafts.Speculator`."""
        return 0

    def close(self) -> None:
        """See `scheduler.drafts.Speculator`."""

    def propose(self, limits: dict[Sequence, int], budget: StepBudget) -> dict[Sequence, List[int]]:
        """See `scheduler.drafts.Speculator`."""
        start_ns = self._now_ns()
        try:
            return self._propose(limits, budget)
        finally:
            self._account.drafting(self._now_ns() - start_ns)

    def verified(self, sequence: Sequence, draft: List[int], accepted: int) -> None:
        """See `scheduler.drafts.Speculator`."""
        state = self._states[sequence]
        classes = state.classes[: len(draft)]
        self._account.verified(len(draft), accepted)
        self._overall.observe_chain(classes, accepted)
        state.acceptance.observe_chain(classes, accepted)

    def forget(self, sequence: Sequence) -> None:
        """See `scheduler.drafts.Speculator`."""
        start_ns = self._now_ns()
        state = self._states.pop(sequence, None)
        self._rota.promising.discard(sequence)
        if state is not None:
            state.draft.finish(sequence.tokens[sequence.num_prompt :].tolist())
        self._account.drafting(self._now_ns() - start_ns)

    def _propose(
        self, limits: dict[Sequence, int], budget: StepBudget
    ) -> dict[Sequence, List[int]]:
        if budget.has_prompts and not self._depth:
            return {}  # beside prompt rows no row is free, and the step is long as it is
        decodes = len(limits)
        past = sum(s.num_computed for s in limits) // max(1, decodes)

        def asked_ns(rows: int) -> float:
            return max(1.0, budget.plan.ns_widened(rows, past) if rows else budget.plan.ns())

        if self._depth:
            step_ns = RowTimes(asked_ns)
            proposals = self._ask(limits, 0.0)
            depths = _fixed_depths(proposals, budget.rows)
        else:
            step_ns = self._prices.of(decodes, past, budget, asked_ns)
            proposals = self._ask(self._asked(limits, step_ns.least_gain), step_ns.least_gain)
            depths = _paying_depths(proposals, decodes, step_ns, budget)
        chosen = [(p, n) for p, n in zip(proposals, depths, strict=False) if n]
        self._rota.note({p.sequence for p, _ in chosen})
        if chosen:
            expected = sum(sum(p.gains[:n]) for p, n in chosen)
            wider_ns = step_ns(sum(n for _, n in chosen))
            self._account.chosen(step_ns(0), wider_ns, decodes, expected)
        return {p.sequence: p.tokens[:n] for p, n in chosen}

    def _asked(self, limits: dict[Sequence, int], least: float) -> dict[Sequence, int]:
        """Whose turn it is, if `least` is to be reached."""
        if not self._rota.may_pay(len(limits), least):
            return {}
        if self._rota.asks_all(len(limits)):
            return limits
        return {s: limit for s, limit in limits.items() if s in self._rota.promising}

    def _ask(self, limits: dict[Sequence, int], least: float) -> list[_Proposal]:
        """Proposals of which the first token is expected to add at least `least` tokens."""
        most = self._depth or MAX_DEPTH
        proposals = []
        for sequence, limit in limits.items():
            wanted = min(limit, _own_depth(sequence, most))
            found = self._proposal(sequence, wanted) if wanted else None
            if found is not None and found.gains[0] >= least:
                proposals.append(found)
        return proposals

    def _proposal(self, sequence: Sequence, wanted: int) -> _Proposal | None:
        """At most `wanted` tokens from the draft of `sequence`, told of all of its tokens."""
        state = self._states.get(sequence)
        if state is None:
            draft = self._drafter.open(sequence.request.cache_salt)
            state = _State(draft, Acceptance(self._overall.rates))
            self._states[sequence] = state
        if state.known < sequence.num_tokens:
            state.draft.extend(sequence.tokens[state.known :].tolist())
            state.known = sequence.num_tokens
        tokens = state.draft.propose(wanted)
        if not tokens:
            return None
        state.classes = state.draft.confidences
        return _Proposal(sequence, tokens, state.acceptance.chain_gains(state.classes))

    def _now_ns(self) -> int:
        return self._clock.now_ns() if self._clock else 0


def _own_depth(sequence: Sequence, most: int) -> int:
    """The request's own depth where it has one."""
    own = sequence.request.draft_tokens
    return most if own is None else min(own, most)


def _paying_depths(
    proposals: List[_Proposal], decodes: int, step_ns: RowTimes, budget: StepBudget
) -> list[int]:
    """As many tokens of each proposal as pay in a step of `decodes` sequences."""
    if not proposals:
        return []
    gains = [p.gains for p in proposals] + [[]] * (decodes - len(proposals))
    limit_ns = min(budget.limit_ns, longest_ns(decodes, step_ns(0)))
    return choose_depths(gains, step_ns, limit_ns, budget.rows)


def _fixed_depths(proposals: List[_Proposal], max_rows: int) -> list[int]:
    depths = []
    for proposal in proposals:
        depths.append(min(len(proposal.tokens), max_rows))
        max_rows -= depths[-1]
    return depths
