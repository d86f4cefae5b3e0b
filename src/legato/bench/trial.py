"""Trials of a search for capacity: a rate on an endpoint until it is known whether it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from legato.bench.capacity import Capacity, Point, find_capacity
from legato.bench.client import Client
from legato.bench.document import Document
from legato.bench.endpoint import Endpoint
from legato.bench.outcome import FailureKind
from legato.bench.rule import Rule, Search
from legato.bench.run import Limits
from legato.bench.serve import Measurement, Watch, measure, unwatched
from legato.bench.workload import Workload
from legato.errors import LegatoError

WorkloadOf = Callable[[float, int], Workload]  # of a rate, and a number that makes it new
OnTrial = Callable[[Document, Point], None]


def measure_capacity(
    endpoint: Endpoint,
    workload_of: WorkloadOf,
    search: Search,
    measurement: Measurement,
    on_trial: OnTrial,
    watch: Watch = unwatched,
) -> tuple[Capacity, list[Document]]:
    """Search the capacity of `endpoint`; also the documents of all trials.

    Args:
        endpoint: where to ask; nobody else should.
        workload_of: the stream of requests at a rate; numbers count the trials.
        search: where to look and how sure to be.
        measurement: objectives, price and how to wait; its limits and rule are the search's.
        on_trial: hears of each trial that has ended.
        watch: shows what goes on.
    """
    documents: list[Document] = []

    def trial(rate: float, rule: Rule) -> Point | None:
        if not asyncio.run(_idles(endpoint, measurement.timeout_s)):
            return None
        workload = workload_of(rate, len(documents))
        limits = Limits(duration_s=search.longest)
        judged = replace(measurement, limits=limits, rule=rule)
        (document,) = measure([endpoint], workload, rate, judged, watch)
        documents.append(document)
        figures = document["figures"]
        if figures["interrupted"]:
            return None
        point = Point(rate, figures["fluid_requests"], figures["requests"], figures["sending_s"])
        on_trial(document, point)
        return point

    return find_capacity(search, measurement.objectives.share, trial), documents


async def _idles(endpoint: Endpoint, timeout_s: float) -> bool:
    """One short request, whose answer comes when the work of the trial before is done.

    False when that was interrupted.
    """
    client = Client(endpoint, timeout_s=timeout_s)
    outcome = await client.ask([{"role": "user", "content": "Hello"}], max_tokens=1)
    client.close()
    if outcome.failure not in (None, FailureKind.UNFINISHED):
        raise LegatoError(f"the server is not ready ({outcome.failure}): {outcome.detail}")
    return outcome.succeeded
