"""When a request that comes now would get its first token: pure functions of the load."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from collections.abc import Sequence as List
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Protocol

from legato.core import Tenant
from legato.scheduler.sequence import Sequence

MEMORY = 0.98
"""Weight of all earlier ends beside a new one, in the mean length of outputs."""

Urgency = tuple[int, int]
"""(priority, time the first token is due): the order of those who wait."""
Queued = tuple[Urgency, int, bool]
"""Its urgency, rows to compute, whether it still needs a slot."""
Running = tuple[int, int]
"""Its priority, tokens it may still generate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What stands before a newcomer, at one moment between two steps.

    Attributes:
        slots: most sequences that run.
        running: each running sequence.
        depth: cached tokens of the running sequences, on average.
        tbt_ns: the smallest time between tokens that one of them wants.
        queue: those that have prompt tokens to compute, most urgent first.
        mean_output: how many tokens a sequence generates on average; None while none has ended.
        running_tenants, queue_tenants: whose they are, in the same order.
        unstarted: requests of each tenant that have never run.
        behind_since_ns: since when there were always prompt tokens to compute; None where there
            are none.
    """

    slots: int
    running: tuple[Running, ...] = ()
    depth: int = 0
    tbt_ns: int = 0
    queue: tuple[Queued, ...] = ()
    mean_output: float | None = None
    running_tenants: tuple[Tenant, ...] = ()
    queue_tenants: tuple[Tenant, ...] = ()
    unstarted: Mapping[Tenant, int] = field(default_factory=dict)
    behind_since_ns: int | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing stands before anybody."""
        return not (self.running or self.queue)

    @property
    def streams(self) -> int:
        """Sequences that will decode beside each other once a newcomer is one of them."""
        waiting = sum(needs_slot for _, _, needs_slot in self.queue)
        return min(self.slots, len(self.running) + waiting + 1)


class LoadTimes(Protocol):
    """Predicted times under a load."""

    def decode_ns(self, count: int, depth: int) -> float:
        """Of a step in which `count` sequences of `depth` cached tokens decode."""
        ...

    def row_ns(self, decodes: int, depth: int, tbt_ns: int, past: int) -> float:
        """Of one prompt row after `past` others, beside that many decodes whose deadlines are
        kept."""
        ...


def first_token_ns(
    load: Load, urgency: Urgency, rows: int, times: LoadTimes, rows_before: int = 0
) -> float:
    """Time until a prompt of `rows` tokens that comes now has its first token.

    It waits until the more urgent prompts are computed, and `rows_before` tokens that are not in
    `load` yet, and, where all slots are taken, until enough sequences have ended. What arrives
    later and is more urgent is not foreseen.
    """
    ahead = load.queue[: bisect_right(load.queue, urgency, key=lambda entry: entry[0])]
    rivals = sorted(tokens for priority, tokens in load.running if priority <= urgency[0])
    decodes = len(load.running)
    prompts = [rows, *(count for _, count, _ in ahead)]
    row_ns = times.row_ns(decodes, load.depth, load.tbt_ns, mean_past(prompts))
    missing = len(rivals) + sum(needs_slot for _, _, needs_slot in ahead) + 1 - load.slots
    wait_ns = 0.0
    if missing > 0:
        steps = steps_until_free(missing, rivals, load.mean_output)
        wait_ns = steps * times.decode_ns(decodes, load.depth)
    return wait_ns + (rows_before + sum(prompts)) * row_ns


def mean_past(prompts: List[int]) -> int:
    """How many tokens of its prompt come before a token, on average over all of `prompts`, which
    have these lengths."""
    return sum(count * count for count in prompts) // max(1, 2 * sum(prompts))


def steps_until_free(count: int, remaining: List[int], mean_output: float | None) -> float:
    """Steps until `count` slots have become free, of sequences that may still generate `remaining`
    tokens, ascending.

    None of them goes on beyond its limit. Where outputs are known to end after `mean_output`
    tokens on average, whatever they have behind them, one of n ends every mean / n steps.
    """
    if not remaining:
        return 0.0
    rounds, place = divmod(count - 1, len(remaining))
    limit = rounds * remaining[-1] + remaining[place]
    if mean_output is None:
        return float(limit)
    return min(float(limit), count * mean_output / len(remaining))


class OutputLengths:
    """The mean length of outputs, those in progress included: tokens made for each end.

    For lengths that are geometrically distributed this is the most likely mean, given that some
    have not ended yet. Ends long ago are forgotten slowly.
    """

    def __init__(self) -> None:
        self._tokens = self._ends = 0.0

    @property
    def mean(self) -> float | None:
        """Tokens an output has on average; None before the first end."""
        return self._tokens / self._ends if self._ends else None

    def observe(self, tokens: int, ends: int) -> None:
        """A step made `tokens` tokens, and that many outputs ended."""
        self._tokens += tokens
        for _ in range(ends):
            self._ends = MEMORY * self._ends + 1
            self._tokens *= MEMORY


def load_of(
    running: List[Sequence],
    waiting: List[Sequence],
    *,
    slots: int,
    mean_output: float | None,
    miss_share: float,
    unstarted: Mapping[Tenant, int],
    behind_since_ns: int | None,
) -> Load:
    """The load that these sequences are.

    `miss_share` of the tokens of prompts that wait will have to be computed, the rest comes from
    the prefix cache. For `unstarted` and `behind_since_ns` see `Load`.
    """
    queue = [_queued(s, s.num_pending, False) for s in running if s.num_pending > 1]
    queue += [
        _queued(s, round(miss_share * s.num_pending), True)
        for s in waiting
        if s.index == 0 or s.num_output  # siblings share the prompt
    ]
    queue.sort(key=itemgetter(0))
    cached = sum(s.num_computed for s in running)
    return Load(
        slots=slots,
        running=tuple((s.rank[0], s.length_limit - s.num_tokens) for s in running),
        depth=cached // max(1, len(running)),
        tbt_ns=min((s.tbt_ns for s in running), default=0),
        queue=tuple(entry for entry, _ in queue),
        mean_output=mean_output,
        running_tenants=tuple(s.request.tenant for s in running),
        queue_tenants=tuple(tenant for _, tenant in queue),
        unstarted=unstarted,
        behind_since_ns=behind_since_ns,
    )


def _queued(sequence: Sequence, rows: int, needs_slot: bool) -> tuple[Queued, Tenant]:
    urgency = (sequence.rank[0], sequence.rank[1])
    return (urgency, rows, needs_slot), sequence.request.tenant
