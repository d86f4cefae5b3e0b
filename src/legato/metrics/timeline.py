"""When one sample was asked for and when each of its tokens was delivered."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Timeline:
    """Arrival and delivery stamps of one request's sample, ns of one monotonic clock.

    Attributes:
        arrival_ns: when the request arrived (t_a).
        stamps_ns: delivery time t_i of output token i; tokens delivered at once share a time.
        prompt_tokens: length of the prompt, 0 when unknown.
    """

    arrival_ns: int
    stamps_ns: list[int] = field(default_factory=list)
    prompt_tokens: int = 0

    def stamp(self, time_ns: int, tokens: int = 1) -> None:
        """Record that `tokens` tokens were delivered at `time_ns`."""
        previous = self.stamps_ns[-1] if self.stamps_ns else self.arrival_ns
        if time_ns < previous:
            raise ValueError(f"a token at {time_ns} ns cannot precede the one at {previous} ns")
        self.stamps_ns.extend([time_ns] * tokens)

    def gaps_ns(self) -> list[int]:
        """g_0 = t_0 − t_a and g_i = t_i − t_(i−1), one per output token."""
        times = [self.arrival_ns, *self.stamps_ns]
        return [later - earlier for earlier, later in zip(times, self.stamps_ns, strict=False)]

    @property
    def output_tokens(self) -> int:
        """How many tokens were delivered."""
        return len(self.stamps_ns)
