"""Decisions of the scheduler as pure functions of plain numbers and sequences.

Step times and deadlines will enter here: `prefill_rows` is where a predicted step time bounds
the chunk, `may_admit` where a deadline that cannot be met is refused.
"""

from __future__ import annotations

from collections.abc import Sequence as List

from legato.core import FinishReason
from legato.scheduler.sequence import Sequence


def prefill_rows(budget: int, pending: int, room: int) -> int:
    """Rows of a prefill chunk: bounded by the step's `budget`, by what is `pending`, and by the
    rows for which KV blocks are available (`room`). Never negative."""
    return max(0, min(budget, pending, room))


def may_admit(available: int, needed: int, num_running: int, blocks_per_growth: int) -> bool:
    """Whether a sequence that holds `needed` more blocks at its peak may start.

    Every running sequence keeps room to grow by one block per group (`blocks_per_growth`), so
    that the newcomer is not preempted at once. With nothing running anybody may start: what
    can never fit was refused before.
    """
    return num_running == 0 or needed + num_running * blocks_per_growth <= available


def choose_victim(running: List[Sequence], needy: Sequence) -> Sequence | None:
    """Who gives its blocks back so that `needy` can go on: the last in rank, possibly `needy`
    itself; None where nobody else runs. `running` is in order of rank."""
    victim = running[-1]
    return None if victim is needy and len(running) == 1 else victim


def finish_reason(sequence: Sequence, token: int) -> FinishReason | None:
    """Why `sequence` ends with `token`, its newest, or None where it goes on."""
    if token in sequence.stop_ids:
        return FinishReason.STOP
    if sequence.num_tokens >= sequence.length_limit:
        return FinishReason.LENGTH
    return None
