"""What tokens cost: by the hour of a machine, or by a price list. In the currency of the prices.

One request of a machine that many share costs the machine time that it took: its share of every
step it was part of, whole nanoseconds that add up to the time of the steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

PER = 1_000_000  # tokens that a price is quoted for
SECONDS_PER_HOUR = 3600
NS_PER_HOUR = SECONDS_PER_HOUR * 1_000_000_000


class Price(Protocol):
    """A way to pay."""

    def cost(self, seconds: float, input_tokens: int, output_tokens: int) -> float:
        """Of `seconds` in which these tokens were taken and given."""
        ...


@dataclass(frozen=True, slots=True)
class MachinePrice:
    """A machine by the hour, busy or idle, and the energy that it draws.

    Attributes:
        per_hour: price of an hour of the machine.
        watts: power that it draws.
        energy_per_kwh: price of a kilowatt-hour; 0 where the hour's price includes the energy.
    """

    per_hour: float
    watts: float = 0.0
    energy_per_kwh: float = 0.0

    def __post_init__(self) -> None:
        prices = (self.per_hour, self.watts, self.energy_per_kwh)
        if not all(math.isfinite(price) and price >= 0 for price in prices):
            raise ValueError(f"prices and power must be finite and not below 0: {self}")

    @property
    def total_per_hour(self) -> float:
        """The hour with its energy: per_hour + watts ÷ 1000 × energy_per_kwh."""
        return self.per_hour + self.watts / 1000 * self.energy_per_kwh

    def cost(self, seconds: float, input_tokens: int = 0, output_tokens: int = 0) -> float:
        """total_per_hour ÷ 3600 × seconds; tokens do not matter."""
        return self.total_per_hour / SECONDS_PER_HOUR * seconds

    def machine_cost(self, machine_ns: int) -> float:
        """Of the machine time that a request took (`TokenEvent.machine_ns`), ns."""
        return self.total_per_hour * machine_ns / NS_PER_HOUR


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
