"""Sharing a machine between tenants: who is next, who holds too much, who may still queue.

Every tenant that has work is owed machine time in proportion to its weight, and places among the
running sequences likewise. Next is whose tenant has had least, as in fair queueing (Sheng et al.
2024, "Fairness in Serving Large Language Models", arXiv 2401.00588; counted here is measured
machine time instead of tokens). With one tenant nothing of this decides anything.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Sequence as List
from heapq import heapify, heappop, heappush

from legato.core import Tenant
from legato.scheduler.sequence import Sequence


class Shares:
    """The machine time that tenants have had, by their weights, while several had work.

    Who comes back from idleness starts where the least served of the others is: nobody saves up.
    """

    def __init__(self) -> None:
        self._live: Counter[Tenant] = Counter()
        self._active: frozenset[Tenant] = frozenset()
        self._served: dict[Tenant, float] = {}

    @property
    def several(self) -> bool:
        """Whether more than one tenant has work."""
        return len(self._active) > 1

    def enter(self, tenant: Tenant) -> None:
        """A sequence of `tenant` has come."""
        self._live[tenant] += 1
        if self._live[tenant] == 1:
            self.update(self._live)

    def leave(self, tenant: Tenant) -> None:
        """A sequence of `tenant` has gone."""
        self._live -= Counter([tenant])
        if tenant not in self._live:
            self.update(self._live)

    def pause(self, tenant: Tenant) -> None:
        """A sequence of `tenant` has gone and comes again at once."""
        self._live[tenant] -= 1

    def recount(self, tenants: Iterable[Tenant]) -> None:
        """Whose sequences there are, whatever was counted before."""
        self._live = Counter(tenants)
        self.update(self._live)

    def check(self, tenants: Iterable[Tenant]) -> None:
        """AssertionError unless these are whose sequences there are."""
        assert Counter(tenants) == self._live

    def update(self, active: Collection[Tenant]) -> None:
        """These tenants have work now."""
        now = frozenset(active)
        if now == self._active:
            return
        stayed = [self._served.get(tenant, 0.0) for tenant in now & self._active]
        least = min(stayed, default=0.0)
        kept = {t: had for t, had in self._served.items() if t in now or had > least}
        lifted = {t: max(kept.get(t, 0.0), least) for t in now - self._active}
        self._served = {**kept, **lifted} if len(now) > 1 else {}
        self._active = now

    def charge(self, tenant: Tenant, time_ns: float) -> None:
        """`tenant` has had `time_ns` of the machine."""
        if self.several:
            self._served[tenant] = self.served(tenant) + time_ns / tenant.weight

    def charge_step(self, sequences: List[Sequence], times_ns: List[int]) -> None:
        """A step has divided its time among `sequences`."""
        if self.several:
            for sequence, time_ns in zip(sequences, times_ns, strict=True):
                self.charge(sequence.request.tenant, time_ns)

    def served(self, tenant: Tenant) -> float:
        """What `tenant` has had, in nanoseconds by its weight."""
        return self._served.get(tenant, 0.0)


def fair_order(
    candidates: Iterable[Sequence],
    served: Callable[[Tenant], float],
    cost_ns: Callable[[Sequence], float],
) -> Iterator[Sequence]:
    """`candidates`, of the tenant first that has had least; within a tenant in the given order.

    Args:
        served: machine time that a tenant has had, by its weight.
        cost_ns: predicted machine time of a sequence, charged as soon as it is given.
    """
    queues: dict[Tenant, deque[Sequence]] = {}
    for sequence in candidates:
        queues.setdefault(sequence.request.tenant, deque()).append(sequence)
    heap = [(served(tenant), queue[0].rank, queue) for tenant, queue in queues.items()]
    heapify(heap)
    while heap:
        had, _, queue = heappop(heap)
        sequence = queue.popleft()
        if queue:
            share = cost_ns(sequence) / sequence.request.tenant.weight
            heappush(heap, (had + share, queue[0].rank, queue))
        yield sequence


def over_share(running: List[Sequence], newcomer: Sequence) -> Sequence | None:
    """Who is stopped so that `newcomer` can start: the last in rank of the tenant that holds most
    places by its weight, if it still holds no fewer than the newcomer's tenant afterwards.

    `running` is in order of rank.
    """
    held = Counter(sequence.request.tenant for sequence in running)
    own = newcomer.request.tenant
    most = max(held, key=lambda tenant: held[tenant] / tenant.weight, default=own)
    if most == own or (held[most] - 1) / most.weight < (held[own] + 1) / own.weight:
        return None
    return next(s for s in reversed(running) if s.request.tenant == most)


def last_of_largest(running: List[Sequence]) -> Sequence:
    """The last in rank of the tenant that holds most places by its weight; never the first of all,
    so that one always makes progress. `running` is in order of rank, at least two."""
    if all(s.request.tenant == running[0].request.tenant for s in running):
        return running[-1]
    held = Counter(sequence.request.tenant for sequence in running)

    def holding(sequence: Sequence) -> tuple[float, tuple[int, ...]]:
        tenant = sequence.request.tenant
        return held[tenant] / tenant.weight, sequence.rank

    return max(running[1:], key=holding)


def may_queue(waiting: Mapping[Tenant, int], newcomer: Tenant, most: int) -> bool:
    """Whether one more request of `newcomer` may wait.

    A full queue (`most` requests) refuses everybody but a tenant that has less than its share of
    the places, so that nobody can fill it against the others.
    """
    if sum(waiting.values()) < most:
        return True
    tenants = waiting.keys() | {newcomer}
    share = most * newcomer.weight / sum(tenant.weight for tenant in tenants)
    return len(tenants) > 1 and waiting.get(newcomer, 0) + 1 <= share
