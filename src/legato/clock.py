"""Time. Engine code reads a clock and nothing else, so that it also runs in virtual time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock in integer nanoseconds."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary, fixed origin."""
        ...


class RealClock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary, fixed origin."""
        return time.monotonic_ns()


@dataclass
class VirtualClock:
    """A clock that moves only when told to."""

    time_ns: int = 0

    def now_ns(self) -> int:
        """Nanoseconds advanced so far."""
        return self.time_ns

    def advance(self, duration_ns: int) -> None:
        """Move forward by `duration_ns` ≥ 0 nanoseconds."""
        if duration_ns < 0:
            raise ValueError(f"a clock cannot go back: {duration_ns} ns")
        self.time_ns += duration_ns
