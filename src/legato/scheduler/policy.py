"""Decisions of the scheduler as pure functions of plain numbers and sequences.

Only times and predicted step times enter; what a step costs is somebody else's knowledge.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as List

from legato.core import FinishReason
from legato.scheduler.fairness import last_of_largest
from legato.scheduler.sequence import Sequence

LEAST_CHUNK = 16
"""Rows that the first prefill chunk of a step gets even where streams will be late."""

CREDIT = 0.25
"""Share of a time between tokens that a stream which is early may be made to wait longer."""

LATE_SHARE = 0.5
"""Where streams are late already, prefill may lengthen a step of decodes by this share."""


def prefill_rows(budget: int, pending: int, room: int) -> int:
    """Rows of a prefill chunk: bounded by the step's `budget`, by what is `pending`, and by the
    rows for which KV blocks are available (`room`). Never negative."""
    return max(0, min(budget, pending, room))


def next_due_ns(due_ns: int, time_ns: int, tbt_ns: int) -> int:
    """When a token is due after one that was due at `due_ns` and came at `time_ns`.

    Deadlines lie on the grid of the fluidity-index (Agrawal et al. 2024, arXiv 2407.07000): a
    late token starts a new one, an early one leaves its slack to those after it. Of that slack a
    token keeps at most `CREDIT` · `tbt_ns`, so that no stall is long even after a quick start.
    """
    on_grid = max(due_ns, time_ns) + tbt_ns
    return min(on_grid, time_ns + longest_gap_ns(tbt_ns))


def longest_gap_ns(tbt_ns: int) -> int:
    """Most time between two tokens of a stream that is early and wants one every `tbt_ns`."""
    return tbt_ns + int(CREDIT * tbt_ns)


def step_limit_ns(slack_ns: float, decode_ns: float) -> float:
    """How long a step may take in which streams decode.

    The smallest slack of the streams, if their decodes alone (`decode_ns`) leave room in it.
    Streams that are late, or too many to be on time, must not stop prefill for ever: then the
    step may be longer than the decodes by `LATE_SHARE`.
    """
    return max(slack_ns, (1 + LATE_SHARE) * decode_ns)


def largest_chunk(most: int, least: int, limit_ns: float, step_ns: Callable[[int], float]) -> int:
    """The largest number of rows up to `most` with `step_ns(rows)` ≤ `limit_ns`, but at least
    `least`. `step_ns` never falls with the rows."""
    if most <= least or step_ns(most) <= limit_ns:
        return most
    fits, too_many = least, most
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if step_ns(middle) <= limit_ns:
            fits = middle
        else:
            too_many = middle
    return fits


def may_admit(available: int, needed: int, num_running: int, blocks_per_growth: int) -> bool:
    """Whether a sequence that holds `needed` more blocks at its peak may start.

    Every running sequence keeps room to grow by one block per group (`blocks_per_growth`), so
    that the newcomer is not preempted at once. With nothing running anybody may start: what
    can never fit was refused before.
    """
    return num_running == 0 or needed + num_running * blocks_per_growth <= available


def gives_way(running: Sequence, waiting: Sequence) -> bool:
    """Whether `running` is preempted so that `waiting` can start: only for a better priority.

    Within a priority nobody who started is stopped for a newcomer, however late that is.
    """
    return waiting.request.priority < running.request.priority


def choose_victim(running: List[Sequence]) -> Sequence | None:
    """Who gives its blocks back so that one of `running` can go on, possibly that one itself: the
    last in rank of the tenant that holds most; None where nobody else runs. `running` is in order
    of rank."""
    return None if len(running) == 1 else last_of_largest(running)


def finish_reason(sequence: Sequence, token: int) -> FinishReason | None:
    """Why `sequence` ends with `token`, its newest, or None where it goes on."""
    if token in sequence.stop_ids:
        return FinishReason.STOP
    if sequence.num_tokens >= sequence.length_limit:
        return FinishReason.LENGTH
    return None
