"""From settings to a speculator."""

from __future__ import annotations

from collections.abc import Callable

from legato.clock import Clock
from legato.errors import InvalidRequestError
from legato.speculative.draft import Drafter
from legato.speculative.lookup import LookupDrafter
from legato.speculative.ngrams import NGramTable
from legato.speculative.recall import RecallDrafter
from legato.speculative.settings import SpeculationSettings
from legato.speculative.speculator import BatchSpeculator
from legato.speculative.suffix import SuffixDrafter


def make_speculator(
    settings: SpeculationSettings,
    clock: Clock | None = None,
    followers: Callable[[], NGramTable] = NGramTable,
) -> BatchSpeculator | None:
    """The speculator that copies or recalls as `settings` ask for; None where nothing is drafted.
    `clock` measures the time that drafting takes; `followers` gives what the model mostly says
    after what.

    InvalidRequestError where they ask for a model (see `legato.draft_model`).
    """
    if settings.drafter == "off":
        return None
    if settings.drafts_with_model:
        raise InvalidRequestError("speculate: there is no model to draft with here", "speculate")
    drafter: Drafter
    if settings.drafter == "lookup":
        drafter = LookupDrafter()
    elif settings.drafter == "suffix":
        drafter = SuffixDrafter(settings.shared)
    else:
        drafter = RecallDrafter(followers(), settings.shared)
    return BatchSpeculator(drafter, settings.k, clock)
