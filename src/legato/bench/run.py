"""A run as it goes: limits, what is under way, what became of the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from legato.bench.outcome import Outcome
from legato.bench.selfcheck import ClientCost

FOREVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a run ends: no new conversation after `duration_s` or after `conversations` of them.

    What began before `warmup_s` is marked and left out of the figures.
    """

    duration_s: float = FOREVER
    conversations: float = FOREVER
    warmup_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A request without its whole answer yet. `due_ns` is when it arrived."""

    due_ns: int
    max_tokens: int


@dataclass(slots=True)
class Run:
    """What happened.

    Attributes:
        origin_ns: when it began.
        sending_ns: how long requests were sent.
        ended_ns: when the last answer was in.
        outcomes: the requests that ended, in the order of their ends.
        pending: those that have not.
        cut_off: requests that were dropped because the run was stopped; they count as nothing.
        interrupted: it was cancelled.
        cost: what the measuring took.
    """

    origin_ns: int
    sending_ns: int = 0
    ended_ns: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    pending: set[Pending] = field(default_factory=set)
    cut_off: int = 0
    interrupted: bool = False
    cost: ClientCost | None = None

    @property
    def measured(self) -> list[Outcome]:
        """All but the warm-up."""
        return [outcome for outcome in self.outcomes if not outcome.warmup]

    @property
    def window_ns(self) -> int:
        """From the end of the warm-up until the last answer was in, in ns; at least 1."""
        arrivals = [outcome.timeline.arrival_ns for outcome in self.measured]
        warm = any(outcome.warmup for outcome in self.outcomes)
        start = min(arrivals) if warm and arrivals else self.origin_ns
        return max(1, self.ended_ns - start)
