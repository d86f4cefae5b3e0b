"""What of a load stands before a newcomer where tenants share fairly: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from legato.core import Request, Tenant
from legato.scheduler.forecast import Load, Queued, Running, Urgency


def fair_view(load: Load, newcomer: Tenant, urgency: Urgency, rows: int) -> Load:
    """`load` as it is to a prompt of `rows` tokens that comes now from `newcomer`.

    Until its first token the machine computes as much for each other tenant as for its own, by
    their weights: so much of their queues counts, whatever its urgency. Of the places too it gets
    its share, whoever holds them now.
    """
    tenants = {*load.queue_tenants, *load.running_tenants, newcomer}
    if len(tenants) < 2:
        return load
    queue = list(zip(load.queue, load.queue_tenants, strict=True))
    own = [entry for entry, tenant in queue if tenant == newcomer]
    ahead = [entry for entry in own if entry[0] <= urgency]
    own_rows = rows + sum(entry[1] for entry in ahead)
    own_places = 1 + sum(entry[2] for entry in ahead)
    for other in tenants - {newcomer}:
        ratio = other.weight / newcomer.weight
        theirs = [entry for entry, tenant in queue if tenant == other]
        own += _share(theirs, urgency, own_rows * ratio, own_places * ratio)
    running = _places(load, tenants, newcomer, own_places)
    return replace(
        load,
        queue=tuple(sorted(own)),
        running=tuple(entry for entry, _ in running),
        queue_tenants=(),
        running_tenants=(),
    )


def _share(entries: Iterable[Queued], urgency: Urgency, rows: float, places: float) -> list[Queued]:
    """What of another tenant's queue is served meanwhile: at most that many rows and places."""
    counted: list[Queued] = []
    for _, wanted, needs_place in entries:
        if rows <= 0 or places < 1:
            break
        counted.append((urgency, min(wanted, round(rows)), needs_place))
        rows -= wanted
        places -= needs_place
    return counted


def _places(
    load: Load, tenants: set[Tenant], newcomer: Tenant, wanted: int
) -> list[tuple[Running, Tenant]]:
    """Those who still run once `newcomer` has `wanted` places more, up to its share."""
    running = list(zip(load.running, load.running_tenants, strict=True))
    held = Counter(load.running_tenants)[newcomer]
    share = load.slots * newcomer.weight / sum(tenant.weight for tenant in tenants)
    if held + wanted > share:
        return running
    own = [entry for entry in running if entry[1] == newcomer]
    others = [entry for entry in running if entry[1] != newcomer]
    return own + others[: max(0, load.slots - held - wanted)]


Arrived = tuple[Urgency, Request]
"""A request that came lately, and how urgent it is."""


def rows_before(unseen: Iterable[Arrived], newcomer: Request, urgency: Urgency) -> int:
    """Prompt tokens of `unseen` requests that are computed before `newcomer`'s: those of its
    tenant that are as urgent, and of each other tenant no more than its share meanwhile."""
    rows: Counter[Tenant] = Counter()
    for own_urgency, request in unseen:
        if request.tenant != newcomer.tenant or own_urgency <= urgency:
            rows[request.tenant] += len(request.prompt)
    own = rows.pop(newcomer.tenant, 0)
    mine = (own + len(newcomer.prompt)) / newcomer.tenant.weight
    return own + sum(min(count, round(mine * other.weight)) for other, count in rows.items())
