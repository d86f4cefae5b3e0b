"""What each API key uses, and when it has to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from legato.clock import Clock
from legato.metrics.prometheus import KeyRefusal, ServerMetrics
from legato.server.calls import Call
from legato.server.errors import ApiError, ErrorType, too_many
from legato.server.keys import ApiKey

NS_PER_MINUTE = 60_000_000_000


@dataclass(slots=True)
class Bucket:
    """Fills at `per_minute`, up to a minute's worth. 0 never runs dry.

    What is taken may go below nothing; the next taker waits until it is above again.
    """

    per_minute: int
    now_ns: int
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = float(self.per_minute)

    def wait_s(self, now_ns: int, amount: float) -> float:
        """Seconds until `amount` is there."""
        if not self.per_minute:
            return 0.0
        filled = (now_ns - self.now_ns) * self.per_minute / NS_PER_MINUTE
        self.level = min(self.per_minute, self.level + filled)
        self.now_ns = now_ns
        return max(0.0, (amount - self.level) * 60 / self.per_minute)

    def take(self, amount: float) -> None:
        """Take `amount`, there or not."""
        self.level -= amount


class KeyUsage:
    """The running calls and the two buckets of one key."""

    def __init__(self, key: ApiKey, now_ns: int) -> None:
        self._limits = key.limits
        self._running = 0
        self._requests = Bucket(key.limits.requests_per_minute, now_ns)
        self._tokens = Bucket(key.limits.tokens_per_minute, now_ns)

    def refusal(self, now_ns: int) -> tuple[KeyRefusal, float] | None:
        """Why a call must wait, and for how many seconds."""
        if self._limits.concurrent and self._running >= self._limits.concurrent:
            return KeyRefusal.CONCURRENT, 1.0
        if wait := self._requests.wait_s(now_ns, 1):
            return KeyRefusal.REQUESTS, wait
        if wait := self._tokens.wait_s(now_ns, 1):
            return KeyRefusal.TOKENS, wait
        return None

    def enter(self) -> None:
        """A call has begun."""
        self._running += 1
        self._requests.take(1)

    def leave(self, tokens: int) -> None:
        """It has ended, and took `tokens`."""
        self._running -= 1
        self._tokens.take(tokens)


class KeyMeter:
    """Lets the calls of every key in, or refuses them, and counts."""

    def __init__(self, clock: Clock, metrics: ServerMetrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._usage: dict[str, KeyUsage] = {}

    @contextmanager
    def call(self, key: ApiKey, call: Call) -> Iterator[None]:
        """Around one call. ApiError 429 where a limit of `key` is reached."""
        now_ns = self._clock.now_ns()
        usage = self._usage.setdefault(key.name, KeyUsage(key, now_ns))
        if (refusal := usage.refusal(now_ns)) is not None:
            reason, wait = refusal
            self._metrics.refuse_key(key.name, reason)
            raise _limit_reached(reason, wait)
        usage.enter()
        try:
            yield
        finally:
            usage.leave(call.prompt_tokens + call.output_tokens)
            self._metrics.count_key(key.name, call.prompt_tokens, call.output_tokens)


def _limit_reached(reason: KeyRefusal, wait: float) -> ApiError:
    what = {
        KeyRefusal.CONCURRENT: "calls at the same time",
        KeyRefusal.REQUESTS: "requests per minute",
        KeyRefusal.TOKENS: "tokens per minute",
    }[reason]
    kind: ErrorType = "tokens" if reason is KeyRefusal.TOKENS else "requests"
    return too_many(f"this key has reached its limit of {what}", kind, wait)
