"""Machine time of requests as counters, added up in whole nanoseconds so that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from legato.metrics.latency import NS_PER_SECOND
from legato.metrics.price import MachinePrice

_TIME = ("legato_request_machine_seconds", "Machine time of answers that have ended.")
_COST = ("legato_request_cost", "What it cost, in the currency of the machine's price.")


class MachineTime(Collector):
    """What requests took of the machine, and what that cost where it has a `price`."""

    def __init__(self, price: MachinePrice | None) -> None:
        self._price = price
        self._total_ns = 0

    def add(self, machine_ns: int) -> None:
        """An answer has ended that took so much, ns."""
        self._total_ns += machine_ns

    def collect(self) -> Iterator[Metric]:
        """Both counters; without a price only the time."""
        yield CounterMetricFamily(*_TIME, value=self._total_ns / NS_PER_SECOND)
        if self._price is not None:
            yield CounterMetricFamily(*_COST, value=self._price.machine_cost(self._total_ns))

    def describe(self) -> Iterator[Metric]:
        """The same without values."""
        for name, text in (_TIME, _COST):
            yield CounterMetricFamily(name, text)
