"""Tenants share the machine: who is next, who gives way, and what a newcomer is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from legato.assemble import simulate_engine
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import NOBODY, Request, Tenant
from legato.cost.machine import DEFAULT_PROFILE
from legato.errors import OverloadedError
from legato.scheduler.fair_load import fair_view, rows_before
from legato.scheduler.fairness import Shares, fair_order, last_of_largest, may_queue, over_share
from legato.scheduler.forecast import Load
from legato.scheduler.scheduler import Scheduler
from null.fake_backend import make_request
from null.scheduling import add, new_samples, new_scheduler, step
from sim.hollow import hollow_program

HOG, SMALL, HEAVY = Tenant("hog"), Tenant("small"), Tenant("heavy", 3)
NS_PER_S = 1e9


def sequences(*tenants: Tenant):
    """One sequence each, in order of rank."""
    made = []
    for number, tenant in enumerate(tenants, 1):
        (sequence,) = new_samples(number)
        sequence.request = replace(sequence.request, tenant=tenant)
        made.append(sequence)
    return made


def names(ordered) -> list[str]:
    return [sequence.request.tenant.name for sequence in ordered]


def test_the_tenant_that_has_had_least_is_next_and_pays_at_once():
    waiting = sequences(HOG, HOG, HOG, SMALL, SMALL)
    served = {HOG: 25.0, SMALL: 0.0}
    order = list(fair_order(waiting, served.__getitem__, lambda s: 10.0))
    assert names(order) == ["small", "small", "hog", "hog", "hog"]
    served = {HOG: 5.0, SMALL: 0.0}
    order = list(fair_order(waiting, served.__getitem__, lambda s: 10.0))
    assert names(order) == ["small", "hog", "small", "hog", "hog"]
    assert [s for s in order if s.request.tenant == HOG] == waiting[:3]


def test_a_weight_of_three_is_three_times_the_share():
    waiting = sequences(*[HOG] * 8, *[HEAVY] * 8)
    order = list(fair_order(waiting, lambda tenant: 0.0, lambda s: 10.0))
    assert Counter(names(order[:8])) == {"hog": 2, "heavy": 6}


def test_whoever_comes_back_starts_where_the_least_served_is():
    shares = Shares()
    shares.update({HOG})
    shares.charge(HOG, 1e9)
    assert (shares.several, shares.served(HOG)) == (False, 0)
    shares.update({HOG, SMALL})
    shares.charge(HOG, 100)
    shares.charge(SMALL, 300)
    shares.update({HOG, SMALL, HEAVY})
    assert shares.served(HEAVY) == 100
    shares.update({HOG, HEAVY})
    shares.charge(HEAVY, 60)
    assert shares.served(HEAVY) == 120
    shares.update({HOG, SMALL, HEAVY})
    assert shares.served(SMALL) == 300  # what it has had is not forgotten while others work
    shares.update({HOG})
    shares.update({HOG, SMALL})
    assert shares.served(SMALL) == shares.served(HOG) == 0


def test_who_holds_more_than_its_share_of_places_gives_one_back():
    hog_a, hog_b, small = running = sequences(HOG, HOG, SMALL)
    assert over_share(running, new_of(SMALL)) is None  # 2 and 1: small would hold more than hog
    assert over_share([hog_a, hog_b, *sequences(HOG), small], new_of(SMALL)) is not None
    assert over_share([hog_a, hog_b], new_of(SMALL)) is hog_b
    assert over_share([hog_a], new_of(SMALL)) is None
    assert over_share([hog_a, hog_b], new_of(HOG)) is None
    assert over_share(sequences(*[HEAVY] * 3, SMALL), new_of(SMALL)) is None
    assert over_share([], new_of(SMALL)) is None


def new_of(tenant: Tenant):
    return sequences(tenant)[0]


def test_blocks_are_taken_from_whoever_holds_most_but_never_from_the_first():
    running = sequences(HOG, HOG, SMALL)
    assert last_of_largest(running) is running[1]
    assert last_of_largest(running[1:]) is running[2]
    assert last_of_largest(sequences(NOBODY, NOBODY)[:2]).request.id == "r2"


@pytest.mark.parametrize(
    ("waiting", "tenant", "may"),
    [
        ({}, HOG, True),
        ({HOG: 9}, HOG, True),
        ({HOG: 10}, HOG, False),
        ({HOG: 10}, SMALL, True),
        ({HOG: 10, SMALL: 4}, SMALL, True),
        ({HOG: 10, SMALL: 5}, SMALL, False),
        ({HOG: 10, HEAVY: 6}, HEAVY, True),
        ({NOBODY: 10}, NOBODY, False),
    ],
)
def test_nobody_fills_the_queue_against_the_others(waiting, tenant, may):
    assert may_queue(waiting, tenant, 10) is may


def test_a_full_scheduler_gives_a_newcomer_of_another_tenant_its_share_of_places():
    scheduler = new_scheduler(max_sequences=4)
    add_sequences(scheduler, range(1, 9), HOG)
    for _ in range(4):
        step(scheduler)
    assert names(scheduler.running) == ["hog"] * 4
    add_sequences(scheduler, range(9, 13), SMALL)
    for _ in range(12):
        step(scheduler)
        scheduler.check_integrity()
    assert Counter(names(scheduler.running)) == {"hog": 2, "small": 2}
    preempted = scheduler.num_preemptions
    for _ in range(5):
        step(scheduler)
    assert scheduler.num_preemptions == preempted == 2


def add_sequences(scheduler: Scheduler, numbers: range, tenant: Tenant) -> None:
    for number in numbers:
        (sequence,) = new_samples(number)
        sequence.request = replace(sequence.request, tenant=tenant)
        scheduler.add(sequence)


def test_a_priority_counts_among_the_requests_of_its_own_tenant():
    scheduler = new_scheduler(max_sequences=2)
    for number, tenant, priority in ((1, SMALL, 0), (2, HOG, 0), (3, HOG, -9)):
        (sequence,) = new_samples(number, priority=priority)
        sequence.request = replace(sequence.request, tenant=tenant)
        scheduler.add(sequence)
        for _ in range(3):
            step(scheduler)
    assert sorted(s.request.id for s in scheduler.running) == ["r1", "r3"]


def test_one_tenant_is_served_as_ever():
    plain, named = new_scheduler(), new_scheduler()
    for number in range(1, 9):
        add(plain, number, priority=number % 3)
        (sequence,) = new_samples(number, priority=number % 3)
        sequence.request = replace(sequence.request, tenant=HEAVY)
        named.add(sequence)
    for _ in range(40):
        first, second = step(plain), step(named)
        assert [s.request.id for s in first.sequences] == [s.request.id for s in second.sequences]
        assert first.num_rows == second.num_rows


QUEUE = tuple(((0, place), 100, True) for place in range(10))


def test_of_another_tenants_queue_only_its_share_stands_before_a_newcomer():
    load = Load(slots=4, queue=QUEUE, queue_tenants=(HOG,) * 10)
    seen = fair_view(load, SMALL, (0, 500), 30)
    assert [entry[1] for entry in seen.queue] == [30]
    assert fair_view(load, HOG, (0, 500), 30) is load
    heavy = replace(load, queue_tenants=(HEAVY,) * 10)
    assert sum(entry[1] for entry in fair_view(heavy, SMALL, (0, 500), 30).queue) == 90
    behind_own = replace(load, queue_tenants=(SMALL,) * 5 + (HOG,) * 5)
    assert sum(entry[1] for entry in fair_view(behind_own, SMALL, (0, 2), 30).queue) == 500 + 330


def test_a_share_of_the_places_is_free_to_a_newcomer_whoever_holds_them():
    load = Load(slots=4, running=((0, 999),) * 4, running_tenants=(HOG,) * 4)
    assert len(fair_view(load, SMALL, (0, 500), 30).running) == 3
    held = replace(load, running_tenants=(HOG, HOG, SMALL, SMALL))
    assert len(fair_view(held, SMALL, (0, 500), 30).running) == 4


def test_requests_that_were_not_seen_yet_count_by_shares_too():
    def request(tenant: Tenant, priority: int = 0) -> Request:
        return replace(make_request(length=50, priority=priority), tenant=tenant)

    unseen = [request(HOG), request(HOG), request(HOG), request(SMALL), request(SMALL, 5)]
    came = [((each.priority, 10), each) for each in unseen]
    assert rows_before(came, request(SMALL), (0, 10)) == 50 + 100
    assert rows_before(came, request(HOG), (0, 10)) == 150 + 100
    assert rows_before(came[:3], request(HOG, -1), (-1, 10)) == 0
    assert rows_before(came[:3], request(HOG), (0, 9)) == 0  # due earlier: it overtakes them


def simulate(small_at: int, *tenants: Tenant, seconds: float = 60.0):
    """Long requests of the first tenant, from the start; short ones of the second now and then.

    Gives the waits of the short ones in seconds, how many were refused, and the engine.
    """
    clock = VirtualClock()
    config = EngineConfig(num_kv_blocks=3000, prefix_cache=False, max_sequences=16)
    engine = simulate_engine(hollow_program(), DEFAULT_PROFILE, config, clock)
    hog, small = tenants
    for number in range(300):
        params = {"max_tokens": 400}
        engine.add(replace(make_request(f"hog{number}", 1500, start=number, **params), tenant=hog))
    arrived: dict[str, int] = {}
    waits: dict[str, float] = {}
    refused = 0
    while clock.now_ns() < seconds * NS_PER_S:
        number = len(arrived) + refused
        if clock.now_ns() >= (small_at + 2 * number) * NS_PER_S:
            request = replace(make_request(f"small{number}", 40, start=999 + number), tenant=small)
            try:
                engine.check_load(request, engine.load())
            except OverloadedError:
                refused += 1
            else:
                arrived[request.id] = clock.now_ns()
                engine.add(request)
        for event in engine.step():
            if event.request_id in arrived and event.request_id not in waits:
                waits[event.request_id] = (event.time_ns - arrived[event.request_id]) / NS_PER_S
    assert len(waits) >= len(arrived) - 1
    return list(waits.values()), refused, engine


def test_a_tenant_with_hundreds_of_long_requests_does_not_starve_another():
    waits, refused, engine = simulate(5, HOG, SMALL)
    assert refused == 0
    assert len(waits) > 20
    assert max(waits) < 2.0
    assert engine.stats().waiting > 100
    engine.check_integrity()


def test_without_tenants_the_short_ones_are_refused_behind_them():
    waits, refused, _ = simulate(5, NOBODY, NOBODY, seconds=20.0)
    assert (waits, refused > 5) == ([], True)
