"""What requests are promised, and how well a set of them did."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from legato.bench.outcome import Outcome
from legato.errors import LegatoError
from legato.metrics.fluidity import Deadlines, fluidity
from legato.metrics.latency import NS_PER_SECOND
from legato.metrics.prefill import PrefillProfile
from legato.metrics.report import FLUID_ENOUGH
from legato.metrics.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """Attributes:
    ttft_s: time to the first token; with a profile, the slack on top of the unloaded time.
    tbt_s: time between tokens.
    fluid: the fluidity-index from which a request counts as fluid.
    share: the share of requests that has to be fluid.
    profile: the unloaded prefill time by prompt length.
    """

    ttft_s: float = 1.0
    tbt_s: float = 0.05
    fluid: float = FLUID_ENOUGH
    share: float = 0.99
    profile: PrefillProfile | None = None

    def prefill_ns(self, timeline: Timeline) -> int:
        """D_p of one request."""
        unloaded = self.profile.seconds(timeline.prompt_tokens) if self.profile else 0.0
        return round((unloaded + self.ttft_s) * NS_PER_SECOND)

    def deadlines(self, timeline: Timeline) -> Deadlines:
        """Both deadlines of one request."""
        return Deadlines(self.prefill_ns(timeline), round(self.tbt_s * NS_PER_SECOND))

    def last_chance_ns(self, max_tokens: int) -> float:
        """A request of up to so many tokens that takes longer than this cannot be fluid.

        Tokens that are late by L in total miss more than L / D_d deadlines. Infinite with a
        profile: the length of the prompt is known with the answer.
        """
        if self.profile is not None or self.fluid <= 0:
            return math.inf
        spare = (max_tokens / self.fluid - 1) * self.tbt_s
        return (self.ttft_s + spare) * NS_PER_SECOND

    def index(self, outcome: Outcome) -> float:
        """Fluidity-index of one request; a failed one met nothing."""
        if not outcome.succeeded:
            return 0.0
        timeline = outcome.timeline
        return fluidity(timeline.gaps_ns(), self.deadlines(timeline)).index

    def fluid_requests(self, outcomes: Sequence[Outcome]) -> int:
        """How many were fluid."""
        return sum(self.index(outcome) >= self.fluid for outcome in outcomes)


def read_profile(path: Path) -> PrefillProfile:
    """The profile in a file that `legato bench prefill --json` wrote."""
    try:
        fitted = json.loads(path.read_text())["profile"]
        return PrefillProfile(float(fitted["a"]), float(fitted["b"]), float(fitted["c"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LegatoError(f"cannot read a prefill profile from {path}: {error}") from error
