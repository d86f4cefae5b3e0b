"""A Prometheus histogram that costs little to feed: it is filled for every step and every token."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Tally(Collector):
    """Counts values by bucket and adds them up. One thread writes, without a lock; others may read
    and find the last value counted, but not yet added up."""

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """Bucket i counts values up to `bounds[i]`, ascending; one more counts those above all."""
        self._name = name
        self._text = text
        self._bounds = tuple(bounds)
        self._labels = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: Iterable[float]) -> None:
        """Count each of `values`."""
        for value in values:
            self.observe(value)

    def collect(self) -> Iterator[Metric]:
        """The histogram as Prometheus wants it, with cumulative counts."""
        buckets = list(zip(self._labels, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets, self._sum)

    def describe(self) -> Iterator[Metric]:
        """Its name, so that no other metric can take it."""
        yield HistogramMetricFamily(self._name, self._text)
