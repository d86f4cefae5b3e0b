"""Prompt lookup: the newest earlier place of the last n tokens (Saxena 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from legato.speculative.accept import PRIOR_RATES
from legato.speculative.copying import copied, match_class

LENGTHS = (4, 3, 2)
"""n-grams that are looked for, the longest first."""


class LookupDrafter:
    """Copies what followed the newest earlier occurrence of the last tokens."""

    name = "lookup"
    priors = PRIOR_RATES

    def open(self, tenant: str) -> LookupDraft:
        """Everything is in the sequence itself."""
        return LookupDraft()


class LookupDraft:
    """The places of all n-grams of one text, the newest of each."""

    def __init__(self) -> None:
        self._text: list[int] = []
        self._places: dict[tuple[int, ...], int] = {}
        self._found = (0, -1)
        self._classes: list[int] = []

    def extend(self, tokens: Sequence[int]) -> None:
        """Note the n-grams that end in `tokens`."""
        for token in tokens:
            self._text.append(token)
            self._find()

    def propose(self, count: int) -> list[int]:
        """What followed the longest n-gram that was found."""
        length, end = self._found
        tokens = copied(self._text, end, count) if length else []
        self._classes = [match_class(length)] * len(tokens)
        return tokens

    def finish(self, output: Sequence[int]) -> None:
        """Nothing is remembered."""

    @property
    def confidences(self) -> list[int]:
        """Higher for a longer n-gram."""
        return self._classes

    def _find(self) -> None:
        text, places = self._text, self._places
        end = len(text) - 1
        self._found = (0, -1)
        for length in LENGTHS:
            if length > len(text):
                continue
            gram = tuple(text[-length:])
            earlier = places.get(gram, -1)
            if earlier >= 0 and not self._found[0]:
                self._found = (length, earlier)
            places[gram] = end
