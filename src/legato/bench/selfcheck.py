"""What the measuring costs: the client's own CPU time, and how late its event loop runs.

A client that cannot keep up stamps tokens late and blames the server, so it watches itself.
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
    """

    cpu: float
    cpu_us_per_token: float | None
    loop_lag_ms: Distribution | None

    def warnings(self) -> list[str]:
        """Why the figures may be the client's own."""
        found = []
        if self.cpu > MAX_CPU:
            found.append(f"the client took {self.cpu:.0%} of a core: it may be the bottleneck")
        if self.loop_lag_ms is not None and self.loop_lag_ms.p99 > MAX_LAG_MS:
            found.append(
                f"the client woke {self.loop_lag_ms.p99:.1f} ms late (p99): "
                "stamps are late by as much"
            )
        return found


@dataclass
class SelfCheck:
    """A context around a run."""

    clock: Clock = field(default_factory=RealClock)
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
        return ClientCost(cpu_ns / elapsed_ns, per_token, Distribution.of(self._lags_ms))

    async def _measure_lag(self) -> None:
        while True:
            due = self.clock.now_ns() + int(PROBE_S * 1e9)
            await asyncio.sleep(PROBE_S)
            self._lags_ms.append(max(0, self.clock.now_ns() - due) / NS_PER_MS)
