"""Speculation over a batch: which sequence drafts how much, and what became of it."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence as List
from typing import Generic

from legato.clock import Clock
from legato.scheduler.batch import NO_DRAFTING, Drafting
from legato.scheduler.budget import StepBudget
from legato.scheduler.sequence import Sequence
from legato.scheduler.stats import SpeculationFigures
from legato.speculative.account import DraftAccount
from legato.speculative.book import Asked, Book, T
from legato.speculative.depth import MAX_DEPTH
from legato.speculative.rota import Rota
from legato.speculative.row_prices import PriceList, step_times

Drafts = dict[Sequence, List[int]]


class BatchSpeculator(Generic[T]):
    """Drafts for every sequence that decodes, as deep as is predicted to pay."""

    def __init__(self, book: Book[T], depth: int = 0, clock: Clock | None = None) -> None:
        """`depth` tokens for every draft, where time is left; 0 chooses by prediction. `clock`
        measures the time that drafting takes; without one it counts as none."""
        self._book = book
        self._depth = depth
        self._clock = clock
        self._account = DraftAccount()
        self._texts: dict[Sequence, T] = {}
        self._rota = Rota()
        self._prices = PriceList()

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

    def propose(self, limits: dict[Sequence, int], budget: StepBudget) -> Drafts:
        """See `scheduler.drafts.Speculator`."""
        start_ns = self._now_ns()
        try:
            if budget.has_prompts and not self._depth:
                return {}  # beside prompt rows no row is free, and the step is long as it is
            past = sum([s.num_computed for s in limits]) // max(1, len(limits))
            if self._depth:
                return self._propose_all(limits, past, budget)
            return self._propose_paying(limits, past, budget)
        finally:
            self._account.drafting(self._now_ns() - start_ns)

    def verified(self, sequence: Sequence, draft: List[int], accepted: int) -> None:
        """See `scheduler.drafts.Speculator`."""
        self._account.verified(len(draft), accepted)
        self._book.verified(self._texts[sequence], len(draft), accepted)

    def forget(self, sequence: Sequence) -> None:
        """See `scheduler.drafts.Speculator`."""
        start_ns = self._now_ns()
        text = self._texts.pop(sequence, None)
        self._rota.promising.discard(sequence)
        if text is not None:
            self._book.finish(text, sequence.tokens[sequence.num_prompt :])
        self._account.drafting(self._now_ns() - start_ns)

    def _propose_all(self, limits: dict[Sequence, int], past: int, budget: StepBudget) -> Drafts:
        """What the user wants, whether it pays or not."""
        asked = self._asked(limits, limits, self._depth)
        drafts, expected = self._book.propose_all(asked, budget.rows)
        chosen: Drafts = {s: draft for s, draft in zip(limits, drafts, strict=True) if draft}
        if chosen:
            step_ns = step_times(budget, past)
            wider_ns = step_ns(sum(map(len, chosen.values())))
            self._account.chosen(step_ns(0), wider_ns, len(limits), expected)
        return chosen

    def _propose_paying(self, limits: dict[Sequence, int], past: int, budget: StepBudget) -> Drafts:
        decodes = len(limits)
        prices = self._prices.of(decodes, past, budget)
        who = self._whose_turn(limits, prices.least_gain)
        chosen: Drafts = {}
        if who:
            asked = self._asked(who, limits, min(MAX_DEPTH, prices.most_rows))
            limit_ns = prices.limit_ns(budget.slack_ns)
            drafts, expected = self._book.propose(asked, prices, limit_ns)
            chosen = {s: draft for s, draft in zip(who, drafts, strict=True) if draft}
        self._rota.note(set(chosen), self._account.won_ns)
        if chosen:
            wider_ns = prices.times[sum(map(len, chosen.values()))]
            self._account.chosen(prices.times[0], wider_ns, decodes, expected)
        return chosen

    def _whose_turn(self, limits: dict[Sequence, int], least_gain: float) -> Collection[Sequence]:
        """Who is asked, if `least_gain` is to be reached."""
        if not self._rota.may_pay(len(limits), least_gain):
            return ()
        if self._rota.asks_all(len(limits)):
            return limits
        return [sequence for sequence in limits if sequence in self._rota.promising]

    def _asked(
        self, who: Collection[Sequence], limits: dict[Sequence, int], most: int
    ) -> list[Asked[T]]:
        asked = []
        for sequence in who:
            text = self._texts.get(sequence)
            if text is None:
                text = self._book.open(sequence.request.cache_salt)
                self._texts[sequence] = text
            own = sequence.request.draft_tokens
            count = min(limits[sequence], most if own is None else min(own, most))
            asked.append((text, sequence.tokens, count))
        return asked

    def _now_ns(self) -> int:
        return self._clock.now_ns() if self._clock else 0
