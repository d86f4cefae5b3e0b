"""What this machine can do: the ceilings that every figure is read against."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from legato import _native
from legato.backends.native.cpus import cpu_name, usable_cpus

PROBE_BYTES = 256 << 20  # well beyond any last-level cache


@dataclass(frozen=True, slots=True)
class Machine:
    """Measured ceilings. `bandwidth_gb_s`: DRAM read; `int8_gmac_s`: int8 multiply-accumulates."""

    cpu: str
    threads: int
    simd: str
    bandwidth_gb_s: float
    int8_gmac_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure_machine(threads: int) -> Machine:
    """Measure both ceilings with `threads` threads, 0 for all usable; takes under a second."""
    threads = threads or usable_cpus()
    return Machine(
        cpu=cpu_name(),
        threads=threads,
        simd=_native.best_simd().name.lower(),
        bandwidth_gb_s=_native.measure_bandwidth(threads, PROBE_BYTES),
        int8_gmac_s=_native.measure_int8_peak(threads),
    )
