"""Who drafts how much in a step, and who catches up: what is predicted to pay, and no more."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as List
from dataclasses import dataclass, field

from legato.scheduler import policy
from legato.scheduler.budget import StepBudget
from legato.scheduler.sequence import Sequence
from legato.speculative.draft_rows import DraftRows
from legato.speculative.draft_times import DraftTimes, Rows
from legato.speculative.model_depth import choose_model_depths, net_gain

MAX_DEPTH = 8
"""Most tokens that are drafted for one sequence where the depth is chosen by prediction."""

FEW_ROWS = 16
"""A sequence with more rows to catch up drafts in a later step, when it has."""

LASTING = 64
"""A text is expected to go on for as long as it is, and at least for so many tokens."""

PROBE_SHARE = 0.005
"""Part of the time that goes into drafts which are not expected to pay, to see whether they do."""

PROBE_DEPTH = 2

Gains = Callable[[Sequence, int], List[float]]
"""Expected tokens that the 1st, 2nd … of so many drafted ones adds for a sequence."""


@dataclass(slots=True)
class DraftPlan:
    """One round of drafting: how many tokens for whom, and who catches up by how many rows."""

    depths: dict[Sequence, int] = field(default_factory=dict)
    chunks: dict[Sequence, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.depths or self.chunks)


class DraftPlanner:
    """Plans rounds of drafting of one model."""

    def __init__(
        self, rows: DraftRows, times: DraftTimes, gains: Gains, *, depth: int, max_context: int
    ) -> None:
        """`depth` tokens for every draft, where time is left; 0 chooses by prediction.
        `max_context` is the longest text that the draft can follow."""
        self._rows = rows
        self._times = times
        self._gains = gains
        self._depth = depth
        self._max_context = max_context
        self._most_trusted = MAX_DEPTH
        self._idle_ns = 0.0  # of steps since something was drafted

    @property
    def ahead(self) -> int:
        """Most tokens of a draft."""
        return self._depth or MAX_DEPTH

    def trust(self, drafts: int) -> None:
        """So many drafts were verified since the start: the first are short, in case the model is
        not as good as is expected."""
        self._most_trusted = min(MAX_DEPTH, 1 << min(drafts, MAX_DEPTH))

    def plan(
        self, limits: dict[Sequence, int], budget: StepBudget, steps_since: int = 1
    ) -> DraftPlan:
        """For sequences that decode, at most `limits[sequence]` tokens each; it was asked
        `steps_since` steps ago."""
        most = {s: count for s, limit in limits.items() if (count := self._most(s, limit))}
        ready = {s: count for s, count in most.items() if self._pending(s) <= FEW_ROWS}
        behind = [s for s in most if s not in ready and self._invests(s, len(limits), budget)]
        plan = DraftPlan()
        if ready:
            self._give_depths(plan, ready, len(limits), budget)
        if behind:
            self._give_chunks(plan, behind, budget)
        if ready and not plan:
            self._probe(plan, next(iter(ready.items())), budget)
        self._idle_ns = 0.0 if plan else self._idle_ns + steps_since * budget.plan.ns()
        return plan

    def first_parts(self, plan: DraftPlan) -> list[Rows]:
        """The rows of the first draft step of `plan`, for the prediction of its time."""
        drafting = [(self._pending(s), self._rows.computed(s), 1) for s in plan.depths]
        return drafting + [(n, self._rows.computed(s), 0) for s, n in plan.chunks.items()]

    def predicted_ns(self, plan: DraftPlan) -> float:
        """Time of all draft steps of `plan`."""
        total = self._times.ns(self.first_parts(plan))
        past = _mean_past(list(plan.depths))
        for level in range(1, max(plan.depths.values(), default=0)):
            count = sum(depth > level for depth in plan.depths.values())
            total += self._times.decode_ns(count, past)
        return total

    def _pending(self, sequence: Sequence) -> int:
        """Rows that the draft has to compute before it can guess."""
        return sequence.num_tokens - self._rows.computed(sequence)

    def _most(self, sequence: Sequence, limit: int) -> int:
        """Most tokens to draft for it, whatever they cost."""
        own = sequence.request.draft_tokens
        most = self._depth or self._most_trusted
        most = min(most, limit, self._max_context - sequence.num_tokens)
        return max(0, most if own is None else min(own, most))

    def _give_depths(
        self, plan: DraftPlan, ready: dict[Sequence, int], decodes: int, budget: StepBudget
    ) -> None:
        members = list(ready)
        if self._depth:
            depths = _fixed_depths(list(ready.values()), budget.rows)
        else:
            depths = self._paying_depths(members, list(ready.values()), decodes, budget)
        plan.depths = {s: depth for s, depth in zip(members, depths, strict=True) if depth}

    def _paying_depths(
        self, members: List[Sequence], most: List[int], decodes: int, budget: StepBudget
    ) -> list[int]:
        past = _mean_past(members)
        mean_rows = sum(map(self._pending, members)) / len(members)

        def level_ns(level: int, count: int) -> float:
            rows = count if level else max(count, round(count * mean_rows))
            return self._times.decode_ns(rows, past)

        return choose_model_depths(
            [self._gains(s, count) for s, count in zip(members, most, strict=True)],
            decodes=decodes,
            verify_ns=lambda rows: budget.plan.ns_widened(rows, past),
            level_ns=level_ns,
            limit_ns=budget.limit_ns,
            max_rows=budget.rows,
        )

    def _invests(self, sequence: Sequence, decodes: int, budget: StepBudget) -> bool:
        """Whether what drafting is expected to save is more than what catching up takes."""
        if self._depth:
            return True
        past, step_ns = sequence.num_computed, max(1.0, budget.plan.ns())
        draft_ns = budget.plan.ns_widened(1, past) - step_ns
        draft_ns += self._times.decode_ns(decodes, past) / decodes
        gains = self._gains(sequence, MAX_DEPTH)
        tokens = min(sequence.length_limit - sequence.num_tokens, max(LASTING, sequence.num_output))
        token_ns = step_ns / decodes
        saved_ns = net_gain(gains, token_ns, draft_ns) * token_ns * tokens / (1 + sum(gains))
        return saved_ns > self._times.ns(
            [(self._pending(sequence), self._rows.computed(sequence), 0)]
        )

    def _give_chunks(self, plan: DraftPlan, behind: List[Sequence], budget: StepBudget) -> None:
        """Let those who are behind catch up, within what is left of the step."""
        drafted = sum(plan.depths.values())
        parts = self.first_parts(plan)
        others_ns = budget.plan.ns_widened(drafted, 0) + self.predicted_ns(plan)
        left, left_ns = budget.rows - drafted, budget.limit_ns - others_ns + self._times.ns(parts)
        writing: set[int] = set()
        for sequence in behind:
            computed = self._rows.computed(sequence)

            def step_ns(rows: int, computed: int = computed) -> float:
                return self._times.ns([*parts, (rows, computed, 0)])

            most = min(left, sequence.num_tokens - 1 - computed)
            rows = policy.largest_chunk(most, 0, left_ns, step_ns) if most > 0 else 0
            blocks = self._rows.blocks(sequence, computed + rows)
            # Samples of one prompt share its blocks: one of them fills these, the others wait.
            if rows and writing.isdisjoint(blocks):
                writing.update(blocks)
                plan.chunks[sequence] = rows
                parts.append((rows, computed, 0))
                left -= rows

    def _probe(self, plan: DraftPlan, first: tuple[Sequence, int], budget: StepBudget) -> None:
        """Now and then draft a little where it is not expected to pay: texts change."""
        sequence, most = first
        trial = DraftPlan({sequence: min(most, PROBE_DEPTH, budget.rows)})
        past = sequence.num_computed
        cost_ns = budget.plan.ns_widened(PROBE_DEPTH, past) - budget.plan.ns()
        cost_ns += self.predicted_ns(trial)
        if trial.depths[sequence] and cost_ns <= PROBE_SHARE * self._idle_ns:
            plan.depths = trial.depths


def _mean_past(sequences: List[Sequence]) -> int:
    return sum(s.num_computed for s in sequences) // max(1, len(sequences))


def _fixed_depths(most: List[int], max_rows: int) -> list[int]:
    depths = []
    for count in most:
        depths.append(min(count, max_rows))
        max_rows -= depths[-1]
    return depths
