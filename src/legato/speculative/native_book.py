"""The book whose drafters are native code: a step touches few things of Python for it."""

from __future__ import annotations

from legato import _native
from legato.speculative.accept import DECAY, PRIOR_RATES, PRIOR_TRIALS, Rates
from legato.speculative.depth import MIN_GAIN
from legato.speculative.make import Followers
from legato.speculative.recall import prior_rates
from legato.speculative.settings import SpeculationSettings


def native_book(settings: SpeculationSettings, followers: Followers) -> _native.Book:
    """What `make.reference_book` gives, in native code."""
    drafter, priors = _drafter(settings, followers)
    return _native.Book(drafter, priors, DECAY, PRIOR_TRIALS, MIN_GAIN)


def _drafter(settings: SpeculationSettings, followers: Followers) -> tuple[_native.Drafter, Rates]:
    if settings.drafter == "lookup":
        return _native.LookupDrafter(), PRIOR_RATES
    if settings.drafter == "suffix":
        return _native.SuffixDrafter(settings.shared), PRIOR_RATES
    table = followers()
    priors = prior_rates(table)
    rates = [places[0] for places in priors]
    return _native.RecallDrafter(*table.arrays(), rates, settings.shared), priors
