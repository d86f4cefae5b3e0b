"""The requests that an engine has not ended yet, and which of them wait for their first step."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from legato.core import Tenant
from legato.scheduler.scheduler import Scheduler
from legato.scheduler.sequence import Sequence

_log = logging.getLogger(__name__)


class LiveRequests:
    """Samples that have not ended, by the id of their request."""

    def __init__(self) -> None:
        self._samples: dict[str, list[Sequence]] = {}
        self._unstarted: dict[str, int] = {}  # arrival of requests that never ran, oldest first

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._samples

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sequence]:
        return (sequence for samples in self._samples.values() for sequence in samples)

    @property
    def num_unstarted(self) -> int:
        """Requests of which no sample has ever run."""
        return len(self._unstarted)

    def unstarted(self) -> Counter[Tenant]:
        """The same for each tenant."""
        return Counter(self._samples[name][0].request.tenant for name in self._unstarted)

    @property
    def oldest_unstarted_ns(self) -> int | None:
        """Arrival of the oldest such request."""
        return next(iter(self._unstarted.values()), None)

    def add(self, samples: list[Sequence], now_ns: int) -> None:
        """A request arrived; `samples` is kept and shrinks as they end."""
        request_id = samples[0].request.id
        self._samples[request_id] = list(samples)
        self._unstarted[request_id] = now_ns

    def join(self, sequence: Sequence) -> None:
        """One more sequence of a request that began already."""
        self._samples.setdefault(sequence.request.id, []).append(sequence)

    def of(self, request_id: str) -> tuple[Sequence, ...]:
        """The live samples of a request."""
        return tuple(self._samples.get(request_id, ()))

    def start(self, sequences: Iterable[Sequence], now_ns: int) -> None:
        """`sequences` take part in a step that began at `now_ns`."""
        if not self._unstarted:
            return
        for sequence in sequences:
            if self._unstarted.pop(sequence.request.id, None) is not None:
                for sibling in sequence.siblings:
                    sibling.started_ns = now_ns

    def forget(self, request_id: str, index: int) -> Sequence:
        """One sample has ended; the sequence that it was."""
        samples = self._samples[request_id]
        gone = next(sequence for sequence in samples if sequence.index == index)
        samples.remove(gone)
        if not samples:
            self.discard(request_id)
        return gone

    def discard(self, request_id: str) -> None:
        """Nothing of this request is live, if it ever was."""
        self._samples.pop(request_id, None)
        self._unstarted.pop(request_id, None)

    def check_integrity(self, running: Collection[Sequence], waiting: Collection[Sequence]) -> None:
        """AssertionError unless each live sample either runs or waits."""
        live = set(self)
        assert live == {*running, *waiting}
        assert len(live) == len(running) + len(waiting)
        assert self._unstarted.keys() <= self._samples.keys()


def take_out(sequence: Sequence, scheduler: Scheduler, live: LiveRequests) -> None:
    """End a live sequence without a word; the scheduler may have dropped it already."""
    try:
        if not sequence.finished:
            scheduler.remove(sequence)
    except Exception:
        _log.exception("request %s could not be ended as usual", sequence.request.id)
        scheduler.drop([sequence])
    live.forget(sequence.request.id, sequence.index)
