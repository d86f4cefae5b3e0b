"""A shared prefix is computed once; the figures say so in virtual time."""

from __future__ import annotations

from legato.bench.prefix import measure_prefix
from null.fake_backend import make_engine


def measure(**config):
    engine, backend = make_engine(**config)
    clock = engine._clock
    backend.fault = lambda run: clock.advance(1000 * len(backend.steps[-1].token_ids))
    return measure_prefix(engine, clock, shared=320, own=16, repeats=3)


def test_a_cached_prefix_costs_no_time():
    figures = measure()
    assert figures.cold_ttft_s == 336e-6
    assert figures.warm_ttft_s == 16e-6
    assert figures.to_json()["times_shorter"] == figures.times_shorter == 21


def test_without_the_cache_nothing_is_shorter():
    assert measure(prefix_cache=False).times_shorter == 1
