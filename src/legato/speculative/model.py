"""Drafts from a model: a smaller one beside the target, or a shortcut through the target itself.

All sequences draft together: one step of the draft program for each place in the drafts. The time
of these steps is predicted and weighed against what right guesses save, so that nothing is drafted
where that would not pay.
"""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass

from legato.scheduler.batch import NO_DRAFTING, NO_TOKEN, Drafting
from legato.scheduler.budget import StepBudget
from legato.scheduler.sequence import Sequence
from legato.scheduler.stats import SpeculationFigures
from legato.speculative.accept import PLACES, Acceptance
from legato.speculative.account import DraftAccount
from legato.speculative.draft_rows import DraftRows
from legato.speculative.draft_steps import DraftSteps, Part
from legato.speculative.draft_times import DraftTimes
from legato.speculative.model_plan import DraftPlan, DraftPlanner
from legato.speculative.rest import Rest

FEW_DRAFTS = 4
"""Before so many drafts of its own a sequence goes by what those of all sequences taught."""

PRIOR_RATE = 0.65
"""How often a drafted token is right, when all before it were, before anything is known of it."""


@dataclass(slots=True)
class _State:
    """What drafting for one sequence taught.

    Attributes:
        drafts: how many of its drafts were verified.
        base: its tokens when it was last drafted for.
        written: drafted tokens whose keys and values the draft wrote after them.
    """

    acceptance: Acceptance
    drafts: int = 0
    base: int = 0
    written: int = 0


class ModelSpeculator:
    """Drafts with a model for every sequence that decodes, as deep as is predicted to pay."""

    def __init__(
        self,
        steps: DraftSteps,
        rows: DraftRows,
        times: DraftTimes,
        *,
        depth: int = 0,
        max_context: int,
        prior: float = PRIOR_RATE,
    ) -> None:
        """`depth` tokens for every draft, where time is left; 0 chooses by prediction.
        `max_context` is the longest text that the draft can follow. `prior`: how often a drafted
        token is expected to be right before any was verified."""
        self._steps = steps
        self._rows = rows
        self._times = times
        self._planner = DraftPlanner(rows, times, self._gains, depth=depth, max_context=max_context)
        self._account = DraftAccount()
        self._rest = Rest()
        self._always = depth > 0
        self._drafting = NO_DRAFTING
        self._overall = Acceptance(((prior,) * PLACES,))
        self._states: dict[Sequence, _State] = {}
        self._drafts = 0

    @property
    def figures(self) -> SpeculationFigures:
        """See `scheduler.drafts.Speculator`."""
        return self._account.figures

    def wants(self, decodes: int) -> bool:
        """See `scheduler.drafts.Speculator`."""
        return self._rest.over(decodes) or self._always

    @property
    def drafting(self) -> Drafting:
        """See `scheduler.drafts.Speculator`."""
        return self._drafting

    @property
    def ahead(self) -> int:
        """See `scheduler.drafts.Speculator`."""
        return self._planner.ahead

    def propose(self, limits: dict[Sequence, int], budget: StepBudget) -> dict[Sequence, List[int]]:
        """See `scheduler.drafts.Speculator`."""
        self._drafting = NO_DRAFTING
        self._planner.trust(self._drafts)
        plan = self._planner.plan(limits, budget, self._rest.length)
        self._rest.judge(bool(plan))
        if not plan:
            return {}
        predicted_ns, start_ns = self._planner.predicted_ns(plan), self._times.now_ns()
        drafts = self._draft(plan)
        measured_ns = self._times.now_ns() - start_ns
        self._times.observe(predicted_ns, measured_ns)
        self._drafting = Drafting(round(predicted_ns), measured_ns)
        self._account.drafting(measured_ns)
        if plan.depths:
            self._account_for(plan, len(limits), budget, predicted_ns)
        return {sequence: draft for sequence, draft in drafts.items() if draft}

    def _account_for(
        self, plan: DraftPlan, decodes: int, budget: StepBudget, drafting_ns: float
    ) -> None:
        past = sum(s.num_computed for s in plan.depths) // len(plan.depths)
        wider_ns = budget.plan.ns_widened(sum(plan.depths.values()), past)
        expected = sum(sum(self._gains(s, n)) for s, n in plan.depths.items())
        self._account.chosen(budget.plan.ns(), wider_ns + drafting_ns, decodes, expected)

    def verified(self, sequence: Sequence, draft: List[int], accepted: int) -> None:
        """See `scheduler.drafts.Speculator`."""
        state = self._states[sequence]
        self._drafts += 1
        state.drafts += 1
        self._account.verified(len(draft), accepted)
        self._overall.observe(0, len(draft), accepted)
        state.acceptance.observe(0, len(draft), accepted)
        self._rows.advance(sequence, state.base + min(accepted, state.written))

    def forget(self, sequence: Sequence) -> None:
        """See `scheduler.drafts.Speculator`."""
        self._states.pop(sequence, None)
        self._rows.forget(sequence)
        self._rest.end()

    def close(self) -> None:
        """See `scheduler.drafts.Speculator`."""
        self._steps.close()

    def _gains(self, sequence: Sequence, count: int) -> List[float]:
        state = self._state(sequence)
        known = state.acceptance if state.drafts >= FEW_DRAFTS else self._overall
        return known.gains(0, count)

    def _state(self, sequence: Sequence) -> _State:
        state = self._states.get(sequence)
        if state is None:
            state = self._states[sequence] = _State(Acceptance(self._overall.rates))
        return state

    def _draft(self, plan: DraftPlan) -> dict[Sequence, list[int]]:
        """Carry out `plan`."""
        drafts: dict[Sequence, list[int]] = {sequence: [] for sequence in plan.depths}
        chosen = self._steps.run(self._first_parts(plan))
        try:
            while going := self._take(chosen, drafts, plan.depths):
                chosen = self._steps.run_newest(going)
        finally:
            for sequence in drafts:
                sequence.draft = ()
        for sequence, draft in drafts.items():
            state = self._state(sequence)
            state.base, state.written = sequence.num_tokens, max(0, len(draft) - 1)
            self._rows.advance(sequence, sequence.num_tokens)
        for sequence, rows in plan.chunks.items():
            self._rows.advance(sequence, self._rows.computed(sequence) + rows)
        return drafts

    def _first_parts(self, plan: DraftPlan) -> list[Part]:
        """What the draft has not seen yet."""
        parts = []
        for sequence, depth in plan.depths.items():
            computed = self._rows.computed(sequence)
            self._rows.begin(sequence, sequence.num_tokens + depth - 1)
            parts.append(Part(sequence, sequence.tokens[computed:], computed))
        for sequence, rows in plan.chunks.items():
            computed = self._rows.computed(sequence)
            self._rows.begin(sequence, computed + rows)
            tokens = sequence.tokens[computed : computed + rows]
            parts.append(Part(sequence, tokens, computed, samples=False))
        return parts

    def _take(
        self,
        chosen: dict[Sequence, int],
        drafts: dict[Sequence, list[int]],
        depths: dict[Sequence, int],
    ) -> list[Sequence]:
        """Append what was chosen; gives those who draft another token."""
        going = []
        for sequence, token in chosen.items():
            if token == NO_TOKEN:
                continue
            draft = drafts[sequence]
            draft.append(token)
            sequence.draft = draft  # the sampler looks at it
            if len(draft) < depths[sequence] and token not in sequence.stop_ids:
                going.append(sequence)
        return going
