"""Recalled drafts: what the text repeats, and where it repeats nothing, what mostly follows.

The chain of guesses goes on from source to source: after a token out of the table of followers it
may copy again, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence

from legato.speculative.accept import PLACES, PRIOR_RATES, Rates
from legato.speculative.chains import HashChains
from legato.speculative.copying import match_class
from legato.speculative.ngrams import ORDER, NGramTable

LEAST_GAIN = 0.03
"""A chain ends where its next token is less likely than this to count."""

_COPIED = len(PRIOR_RATES)
"""Classes of copies; those of the table come after them."""


class RecallDrafter:
    """Copies what the text repeats, else takes the likeliest follower of its last tokens."""

    name = "recall"

    def __init__(self, table: NGramTable) -> None:
        """`table` of the model's own texts; an empty one guesses nothing."""
        self._table = table
        self._priors = (*PRIOR_RATES, *((rate,) * PLACES for rate in table.rates))

    @property
    def priors(self) -> Rates:
        """See `draft.Drafter`."""
        return self._priors

    def open(self, tenant: str) -> RecallDraft:
        """The state of a new sequence; the table is of nobody's texts."""
        return RecallDraft(self._table, [places[0] for places in self._priors])


class RecallDraft:
    """One text and its hash chains."""

    def __init__(self, table: NGramTable, rates: Sequence[float]) -> None:
        self._chains = HashChains()
        self._table = table
        self._rates = rates
        self._classes: list[int] = []

    def extend(self, tokens: Sequence[int]) -> None:
        """Note what the text repeats with `tokens` at its end."""
        self._chains.extend(tokens)

    def propose(self, count: int) -> list[int]:
        """A chain of the likeliest tokens, each from the source that is surer of it."""
        text, table, rates = self._chains.text, self._table, self._rates
        context = text[-ORDER:]
        length, end = self._chains.longest()
        self._classes = classes = []
        drafted: list[int] = []
        likely = 1.0
        while len(drafted) < count:
            copy = end + 1 - len(text)
            token = -1 if not length else drafted[copy] if copy >= 0 else text[end + 1]
            sure = match_class(length)
            known = table.follower(context) if length < ORDER else None
            if known and (not length or rates[_COPIED + known.confidence] > rates[sure]):
                sure = _COPIED + known.confidence
                copied, token = token == known.token, known.token
            else:
                copied = length > 0
            if token < 0 or (likely := likely * rates[sure]) < LEAST_GAIN:
                break
            drafted.append(token)
            classes.append(sure)
            if copied:
                length, end = length + 1, end + 1
            else:
                length, end = self._chains.newest(context[-1], token)
            context = [*context[1 - ORDER :], token]
        return drafted

    def finish(self, output: Sequence[int]) -> None:
        """Nothing is remembered."""

    @property
    def confidences(self) -> list[int]:
        """Copies by the length of the match, then followers by their class in the table."""
        return self._classes
