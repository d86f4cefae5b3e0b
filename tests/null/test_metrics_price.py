"""Prices, and that the machine time of requests adds up to the machine's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.metrics.price import NS_PER_HOUR, MachinePrice, PriceList, per_million


def test_an_hour_of_the_machine_costs_its_price_and_its_energy():
    assert MachinePrice(2.0).cost(3600) == pytest.approx(2.0)
    assert MachinePrice(2.0, watts=250, energy_per_kwh=0.4).cost(3600) == pytest.approx(2.1)
    assert MachinePrice(0.0, watts=1000, energy_per_kwh=0.3).machine_cost(NS_PER_HOUR) == 0.3


@pytest.mark.parametrize("values", [(-1.0, 0, 0), (1.0, -5, 0), (1.0, 5, float("nan"))])
def test_prices_that_cannot_be_are_refused(values: tuple[float, float, float]):
    with pytest.raises(ValueError, match="finite"):
        MachinePrice(*values)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50), st.floats(0, 1e3))
def test_the_costs_of_requests_add_up_to_the_machine_time_that_they_took(
    shares: list[int], per_hour: float
):
    price = MachinePrice(per_hour)
    together = price.machine_cost(sum(shares))
    assert sum(map(price.machine_cost, shares)) == pytest.approx(together, rel=1e-12)
    assert price.cost(sum(shares) / 1e9) == pytest.approx(together, rel=1e-12)


def test_an_api_charges_tokens_and_not_time():
    assert PriceList(1.0, 4.0).cost(1000, 2_000_000, 500_000) == pytest.approx(4.0)


def test_cost_of_a_million_tokens():
    assert per_million(2.0, 4_000_000) == pytest.approx(0.5)
    assert per_million(2.0, 0) is None
