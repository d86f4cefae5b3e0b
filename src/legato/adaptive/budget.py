"""What a question may cost at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a question has cost so far.

    Attributes:
        tokens: generated, in all samples.
        machine_ns: machine time of all samples.
        elapsed_ns: since the question arrived.
        samples: drawn.
        longest_tokens: of the longest sample.
        wave_ns: how long the last wave took.
    """

    tokens: int = 0
    machine_ns: int = 0
    elapsed_ns: int = 0
    samples: int = 0
    longest_tokens: int = 0
    wave_ns: int = 0


@dataclass(frozen=True, slots=True)
class Wave:
    """Samples to draw at once, each of at most `limit` tokens; `count` 0 where nothing is left."""

    count: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits; None has none. The first sample may always begin.

    Attributes:
        tokens: most tokens to generate in all samples together. Never exceeded.
        elapsed_ns: time from the question's arrival to its answer; samples that still run then
            are given up, in the step that passes it.
        machine_ns: machine time, likewise.

    Times are measured: unlike everything else they make the number of samples, and so the
    answer, depend on the load.
    """

    tokens: int | None = None
    elapsed_ns: int | None = None
    machine_ns: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return not (self.tokens is None and self.elapsed_ns is None and self.machine_ns is None)

    def is_spent(self, spent: Spent) -> bool:
        """Whether one of the times is over."""
        return _reached(spent.elapsed_ns, self.elapsed_ns) or _reached(
            spent.machine_ns, self.machine_ns
        )

    def wave(self, wanted: int, longest: int, spent: Spent) -> Wave:
        """As many of `wanted` samples as the rest of the budget lets finish, so far as is known.

        Args:
            wanted: samples that the rule would draw.
            longest: most tokens that one sample may have.
            spent: until now; no sample runs.

        A sample is expected to be as long as the longest before it, and to take as much machine
        time as the mean; a wave as long as the one before. The rest of the tokens is divided
        evenly, so that their sum holds whatever the samples do.
        """
        count = min(wanted, self._affordable(spent)) if spent.samples else wanted
        if self.tokens is None or count == 0:
            return Wave(count, longest)
        rest = self.tokens - spent.tokens
        expected = min(longest, spent.longest_tokens or longest)
        count = min(count, max(1, rest // max(1, expected)), max(0, rest))
        return Wave(count, min(longest, rest // count) if count else longest)

    def _affordable(self, spent: Spent) -> int:
        """Samples for which the times are expected to last."""
        if self.elapsed_ns is not None and spent.elapsed_ns + spent.wave_ns > self.elapsed_ns:
            return 0
        if self.machine_ns is None:
            return _MANY
        each = max(1, spent.machine_ns // spent.samples)
        return max(0, self.machine_ns - spent.machine_ns) // each


_MANY = 1 << 30


def _reached(value: int, limit: int | None) -> bool:
    return limit is not None and value >= limit
