"""Recalled drafts: what the text repeats, and where it repeats nothing, what mostly follows.

The chain of guesses goes on from source to source: after a token out of the table of followers it
may copy again, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence

from legato.speculative import ngram_memory
from legato.speculative.accept import PLACES, PRIOR_RATES, Rates
from legato.speculative.chains import HashChains
from legato.speculative.copying import match_class
from legato.speculative.ngram_memory import NGramMemory
from legato.speculative.ngrams import NUM_CLASSES, ORDER, NGramTable
from legato.speculative.tenants import PerTenant

LEAST_GAIN = 0.05
"""A chain ends where its next token is less likely than this to count."""

_COPIED = len(PRIOR_RATES)
"""Classes of copies; those of the table come after them."""

_REMEMBERED = _COPIED + NUM_CLASSES
"""Where the classes of memory begin."""


def prior_rates(table: NGramTable) -> Rates:
    """How often guesses are right to begin with: copies, followers in `table`, and in memory."""
    followers = (*table.rates, *ngram_memory.PRIOR_RATES)
    return (*PRIOR_RATES, *((rate,) * PLACES for rate in followers))


class RecallDrafter:
    """Copies what the text repeats, else takes the likeliest follower of its last tokens.

    Followers come from a table and, with `shared_tokens`, from the last outputs of the tenant, at
    most about that many tokens.
    """

    name = "recall"

    def __init__(self, table: NGramTable, shared_tokens: int = 0) -> None:
        """`table` of the model's own texts; an empty one guesses nothing."""
        self._table = table
        self._shared_tokens = shared_tokens
        self._memories = PerTenant(lambda: NGramMemory(shared_tokens))
        self._priors = prior_rates(table)

    @property
    def priors(self) -> Rates:
        """See `draft.Drafter`."""
        return self._priors

    def open(self, tenant: str) -> RecallDraft:
        """The state of a new sequence; the table is of nobody's texts."""
        memory = self._memories.of(tenant) if self._shared_tokens else None
        return RecallDraft(self._table, memory, [places[0] for places in self._priors])


class RecallDraft:
    """One text and its hash chains."""

    def __init__(
        self, table: NGramTable, memory: NGramMemory | None, rates: Sequence[float]
    ) -> None:
        self._chains = HashChains()
        self._table = table
        self._memory = memory
        self._rates = rates
        self._classes: list[int] = []

    def extend(self, tokens: Sequence[int]) -> None:
        """Note what the text repeats with `tokens` at its end."""
        self._chains.extend(tokens)

    def propose(self, count: int) -> list[int]:
        """A chain of the likeliest tokens, each from the source that is surer of it."""
        text, rates = self._chains.text, self._rates
        context = text[-ORDER:]
        length, end = self._chains.longest()
        self._classes = classes = []
        drafted: list[int] = []
        likely = 1.0
        while len(drafted) < count:
            copy = end + 1 - len(text)
            token = -1 if not length else drafted[copy] if copy >= 0 else text[end + 1]
            sure = match_class(length)
            copied = length > 0
            if length < ORDER:
                other, other_sure = self._follower(context)
                if other >= 0 and (not copied or rates[other_sure] > rates[sure]):
                    sure, copied, token = other_sure, token == other, other
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
        """The text has ended with `output`; remember that for later ones of the tenant."""
        if self._memory is not None:
            self._memory.add(output)

    @property
    def confidences(self) -> list[int]:
        """Copies by the length of the match, then followers by their class in the table, then
        those by their class in memory."""
        return self._classes

    def _follower(self, context: Sequence[int]) -> tuple[int, int]:
        """(token, class) of the surer one of table and memory; (−1, −1) where neither knows."""
        found = self._table.follower(context)
        best = (-1, -1) if found is None else (found.token, _COPIED + found.confidence)
        recent = None if self._memory is None else self._memory.follower(context)
        if recent is None:
            return best
        sure = _REMEMBERED + recent.confidence
        if found is None or self._rates[sure] > self._rates[best[1]]:
            return recent.token, sure
        return best
