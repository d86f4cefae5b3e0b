"""Fluid token rate: how fast tokens can be promised to every user."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from legato.metrics.fluidity import Deadlines, fluidity
from legato.metrics.latency import NS_PER_SECOND
from legato.metrics.timeline import Timeline

SHARE = 0.99
INDEX = 0.9
FASTEST = 1e6  # tokens/s; reached where whole answers come before their first deadline
SLOWEST_NS = 100 * NS_PER_SECOND


def fluid_token_rate(
    timelines: Sequence[Timeline],
    prefill_ns: Callable[[Timeline], int],
    *,
    failed: int = 0,
    share: float = SHARE,
    index: float = INDEX,
) -> float | None:
    """The highest rate 1/D_d, tokens/s, at which `share` of the requests keep `index`.

    Failed requests keep nothing. `FASTEST` stands for any rate at all. None where no rate above
    0.01 tokens/s will do. Found by bisection in whole µs: the index is monotone in D_d.
    """
    requests = len(timelines) + failed

    def enough(decode_us: int) -> bool:
        kept = sum(
            fluidity(t.gaps_ns(), Deadlines(prefill_ns(t), decode_us * 1000)).index >= index
            for t in timelines
        )
        return bool(timelines) and kept / requests >= share

    low, high = 0, SLOWEST_NS // 1000
    if not enough(high):
        return None
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return 1e6 / high
