"""Fluidity-index: the share of token deadlines that a request met.

Source: Agrawal et al. 2024, arXiv 2407.07000; the algorithm is also in arXiv 2507.09019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """What a request was promised, in ns.

    Attributes:
        prefill_ns: D_p, unloaded prefill time of its prompt plus the scheduling slack.
        decode_ns: D_d, target time between tokens.
    """

    prefill_ns: int
    decode_ns: int

    def __post_init__(self) -> None:
        if self.prefill_ns < 0 or self.decode_ns <= 0:
            raise ValueError(f"deadlines must be positive: {self}")


@dataclass(frozen=True, slots=True)
class Fluidity:
    """Deadlines met and missed by one request.

    Attributes:
        missed: deadlines missed; one late token may miss several.
        total: all deadlines, met and missed.
        late_tokens: tokens that came after their deadline.
        tokens: all output tokens.
    """

    missed: int
    total: int
    late_tokens: int
    tokens: int

    @property
    def index(self) -> float:
        """Fluidity-index, 0..1: 1 − missed/total."""
        return (self.total - self.missed) / self.total

    @property
    def on_time_fraction(self) -> float:
        """Share of tokens that met their deadline, 0..1; hides how long a stall was."""
        return (self.tokens - self.late_tokens) / self.tokens


def fluidity(gaps_ns: Sequence[int], deadlines: Deadlines) -> Fluidity:
    """Score the gaps g_0 (from arrival), g_1, … of one request.

    Deadlines lie on a fixed grid: a token that comes early leaves its slack to those after it.
    The grid is re-based only after a miss, at the late token's arrival. A late token is charged
    one miss, and one more per full D_d that it was late; the first token likewise.

    Raises:
        ValueError: an empty output is an error, not a perfect score.
    """
    if not gaps_ns:
        raise ValueError("an empty output has no fluidity; count it as a failure")
    slack = total = missed = late = 0
    deadline = deadlines.prefill_ns
    for gap in gaps_ns:
        lateness = gap - slack - deadline
        misses = lateness // deadlines.decode_ns + 1 if lateness > 0 else 0
        slack = 0 if misses else -lateness
        missed += misses
        total += misses or 1
        late += misses > 0
        deadline = deadlines.decode_ns
    return Fluidity(missed, total, late, len(gaps_ns))


def due_times(gaps_ns: Sequence[int], deadlines: Deadlines) -> list[int]:
    """When each token was due, in ns from arrival: the grid that `fluidity` scores against."""
    due: list[int] = []
    now = 0
    for number, gap in enumerate(gaps_ns):
        step = deadlines.decode_ns if number else deadlines.prefill_ns
        base = max(now, due[-1]) if due else 0
        due.append(base + step)
        now += gap
    return due
