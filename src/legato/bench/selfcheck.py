"""What the measuring costs: the client's own CPU time, and how late its event loop runs.

A client that cannot keep up asks late, and stamps tokens late where the kernel does not stamp them;
then it blames the server. So it watches itself.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from legato.clock import Clock, RealClock
from legato.metrics.latency import Distribution

PROBE_S = 0.2
MAX_CPU = 0.5  # of one core
MAX_LAG_MS = 5.0
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class ClientCost:
    """Attributes:
    cpu: share of one core that the client took.
    cpu_us_per_token: its CPU time over the tokens it received, everything included.
    loop_lag_ms: how late the event loop woke, probed every 200 ms.
    stamped_by_kernel: stamps are right also when it woke late.
    """

    cpu: float
    cpu_us_per_token: float | None
    loop_lag_ms: Distribution | None
    stamped_by_kernel: bool = False

    def warnings(self) -> list[str]:
        """Why the figures may be the client's own."""
        found = []
        if self.cpu > MAX_CPU:
            found.append(f"the client took {self.cpu:.0%} of a core: it may be the bottleneck")
        lag_ms = 0.0 if self.loop_lag_ms is None else self.loop_lag_ms.p99
        if lag_ms > MAX_LAG_MS and not self.stamped_by_kernel:
            found.append(f"the client woke {lag_ms:.1f} ms late (p99): stamps are late by as much")
        return found


@dataclass
class SelfCheck:
    """A context around a run. `stamped_by_kernel` as in `ClientCost`."""

    clock: Clock = field(default_factory=RealClock)
    stamped_by_kernel: bool = False
    _lags_ms: list[float] = field(default_factory=list)
    _cpu_ns: int = 0
    _start_ns: int = 0
    _probe: asyncio.Task[None] | None = None

    def __enter__(self) -> SelfCheck:
        self._cpu_ns, self._start_ns = time.process_time_ns(), self.clock.now_ns()
        self._probe = asyncio.get_running_loop().create_task(self._measure_lag())
        return self

    def __exit__(self, *_: Any) -> None:  # noqa: ANN401 - whatever ended the run
        assert self._probe is not None
        self._probe.cancel()

    def cost(self, tokens: int) -> ClientCost:
        """Since the start, with `tokens` tokens received."""
        cpu_ns = time.process_time_ns() - self._cpu_ns
        elapsed_ns = max(1, self.clock.now_ns() - self._start_ns)
        per_token = cpu_ns / 1000 / tokens if tokens else None
        lags_ms = Distribution.of(self._lags_ms)
        return ClientCost(cpu_ns / elapsed_ns, per_token, lags_ms, self.stamped_by_kernel)

    async def _measure_lag(self) -> None:
        while True:
            due = self.clock.now_ns() + int(PROBE_S * 1e9)
            await asyncio.sleep(PROBE_S)
            self._lags_ms.append(max(0, self.clock.now_ns() - due) / NS_PER_MS)
