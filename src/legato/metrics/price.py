"""What tokens cost: by the hour of a machine, or by a price list. In the currency of the prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

PER = 1_000_000  # tokens that a price is quoted for


class Price(Protocol):
    """A way to pay."""

    def cost(self, seconds: float, input_tokens: int, output_tokens: int) -> float:
        """Of `seconds` in which these tokens were taken and given."""
        ...


@dataclass(frozen=True, slots=True)
class MachinePrice:
    """A machine by the hour, busy or idle."""

    per_hour: float

    def cost(self, seconds: float, input_tokens: int, output_tokens: int) -> float:
        """price ÷ 3600 × seconds; tokens do not matter."""
        return self.per_hour / 3600 * seconds


@dataclass(frozen=True, slots=True)
class PriceList:
    """An API, by the million input and output tokens."""

    input_per_million: float
    output_per_million: float

    def cost(self, seconds: float, input_tokens: int, output_tokens: int) -> float:
        """Σ tokens × price; time does not matter."""
        paid = input_tokens * self.input_per_million + output_tokens * self.output_per_million
        return paid / PER


def per_million(cost: float, tokens: int) -> float | None:
    """Cost of a million tokens where `tokens` cost `cost`; None without tokens."""
    return cost * PER / tokens if tokens else None
