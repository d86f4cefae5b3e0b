"""Watches a run until a rule has its verdict, and ends it then."""

from __future__ import annotations

import asyncio

from legato.bench.load import Load
from legato.bench.objectives import Objectives
from legato.bench.rule import Rule
from legato.bench.run import Pending, Run
from legato.clock import Clock
from legato.metrics.latency import NS_PER_SECOND

LOOK_S = 0.1


class Judge:
    """Says of a run whether its rate is kept; looks at each outcome once.

    A request that cannot become fluid any more counts before it has ended: under overload that
    is long before.
    """

    def __init__(self, rule: Rule, objectives: Objectives, clock: Clock) -> None:
        self._rule = rule
        self._objectives = objectives
        self._clock = clock
        self._seen = 0
        self._fluid = 0

    def verdict(self, run: Run) -> bool | None:
        """True or False; None while that is open."""
        fresh = run.outcomes[self._seen :]
        self._fluid += self._objectives.fluid_requests(fresh)
        self._seen += len(fresh)
        lost = sum(map(self.is_lost, run.pending))
        elapsed_s = (self._clock.now_ns() - run.origin_ns) / NS_PER_SECOND
        return self._rule.verdict(self._fluid, self._seen + lost, elapsed_s)

    def is_lost(self, pending: Pending) -> bool:
        """Whether it cannot become fluid any more, whatever comes."""
        return self._clock.now_ns() - pending.due_ns > self._objectives.last_chance_ns(
            pending.max_tokens
        )

    async def watch(self, load: Load) -> None:
        """Stop `load` when its rate is kept; when it is not, drop what is under way, too."""
        while (verdict := self.verdict(load.run)) is None:
            await asyncio.sleep(LOOK_S)
        if verdict:
            load.stop()
        else:
            load.drop(self.is_lost)
