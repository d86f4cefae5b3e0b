"""Trials of a search for capacity: a rate on an endpoint until it is known whether it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from legato.bench.capacity import Capacity, Point, find_capacity
from legato.bench.client import Client
from legato.bench.document import Document
from legato.bench.endpoint import Endpoint
from legato.bench.outcome import FailureKind, Outcome
from legato.bench.rule import Rule, Search
from legato.bench.run import Limits
from legato.bench.serve import Measurement, Watch, WorkloadOf, measure, unwatched
from legato.errors import LegatoError
from legato.metrics.latency import NS_PER_SECOND

PROBE = [{"role": "user", "content": "Hello"}]
PROBE_TOKENS = 8
PAUSE_S = 0.2  # before a server that has refused is asked again
BUSY = 1.5  # times the quickest answer to the probe: a server that takes longer has other work
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
    idleness = Idleness(endpoint, measurement.timeout_s)

    def trial(rate: float, rule: Rule) -> Point | None:
        if not asyncio.run(idleness.wait()):
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


class Idleness:
    """Tells when a server has nothing left to do: a short request takes what it took at first.

    A server may go on for seconds with requests whose client has gone, and another trial would
    suffer for them.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._quickest_ns: int | None = None

    async def wait(self) -> bool:
        """Ask until the answer is quick again; false when that was interrupted.

        Raises:
            LegatoError: when the server fails other than by having too much to do.
        """
        client = Client(self._endpoint, timeout_s=self._timeout_s)
        until_ns = client.clock.now_ns() + round(self._timeout_s * NS_PER_SECOND)
        try:
            while client.clock.now_ns() <= until_ns:
                outcome = await client.ask(PROBE, max_tokens=PROBE_TOKENS)
                if outcome.failure is FailureKind.UNFINISHED:
                    return False
                if outcome.failure is FailureKind.OVERLOADED:
                    await asyncio.sleep(PAUSE_S)
                elif self._was_quick(outcome):
                    return True
            return True
        finally:
            client.close()

    def _was_quick(self, outcome: Outcome) -> bool:
        if not outcome.succeeded:
            raise LegatoError(f"the server is not ready ({outcome.failure}): {outcome.detail}")
        took_ns = outcome.timeline.stamps_ns[-1] - outcome.sent_ns
        known_ns = self._quickest_ns  # of no use from one answer: the first may be slow
        self._quickest_ns = min(took_ns, known_ns or took_ns)
        return known_ns is not None and took_ns < BUSY * known_ns
