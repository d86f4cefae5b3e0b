"""From settings to a speculator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from legato.clock import Clock
from legato.errors import InvalidRequestError
from legato.speculative.book import Book, ReferenceBook
from legato.speculative.draft import Drafter
from legato.speculative.lookup import LookupDrafter
from legato.speculative.ngrams import NGramTable
from legato.speculative.recall import RecallDrafter
from legato.speculative.settings import SpeculationSettings
from legato.speculative.speculator import BatchSpeculator
from legato.speculative.suffix import SuffixDrafter

Followers = Callable[[], NGramTable]
"""Gives what the model mostly says after what; asked only where a drafter wants it."""

MakeBook = Callable[[SpeculationSettings, Followers], Book[Any]]
"""`reference_book`, or `native_book.native_book`, which does the same faster."""


def reference_book(settings: SpeculationSettings, followers: Followers) -> Book[Any]:
    """A book of drafters in Python."""
    drafter: Drafter
    if settings.drafter == "lookup":
        drafter = LookupDrafter()
    elif settings.drafter == "suffix":
        drafter = SuffixDrafter(settings.shared)
    else:
        drafter = RecallDrafter(followers(), settings.shared)
    return ReferenceBook(drafter)


def make_speculator(
    settings: SpeculationSettings,
    clock: Clock | None = None,
    followers: Followers = NGramTable,
    make_book: MakeBook = reference_book,
) -> BatchSpeculator[Any] | None:
    """The speculator that copies or recalls as `settings` ask for; None where nothing is drafted.
    `clock` measures the time that drafting takes.

    InvalidRequestError where they ask for a model (see `legato.draft_model`).
    """
    if settings.drafter == "off":
        return None
    if settings.drafts_with_model:
        raise InvalidRequestError("speculate: there is no model to draft with here", "speculate")
    return BatchSpeculator(make_book(settings, followers), settings.k, clock)
