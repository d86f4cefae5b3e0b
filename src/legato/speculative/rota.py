"""Who is asked for a draft in which step, so that looking for drafts is never felt.

A sequence that has just drafted is asked in every step. The others are asked all
together every few steps: of many sequences, where a draft seldom pays, more seldom than of few,
and more seldom where drafts win less time than looking for them takes.
Where no draft could pay, however good, nobody is asked, nor told of texts.
"""

from __future__ import annotations

from legato.scheduler.sequence import Sequence

FEW = 2
"""With up to this many sequences all are asked in every step, as long as that pays."""

QUESTION_NS = 80_000
"""What asking takes, with all that a step does for it: Python whose data the weights pushed out of
the caches (measured with two sequences; `benchmarks/RESULTS.md`)."""

REVIEW = 8
"""So many questions have to win together what they took; if not, everybody is asked half as
often, and if they do, twice as often again."""

LONGEST_REST = 4
"""How many times as seldom, at most."""

LONGEST_WAIT = 16
"""Steps after which everybody is asked again, at most, as long as that pays."""

MOST_HOPED = 0.8
"""Where a drafted row must add more tokens than this to pay, hardly any does, and what could be won
is less than what looking for it takes."""

HOPELESS_WAIT = 64
"""Steps after which it is seen again whether a draft could pay."""


class Rota:
    """Counts steps, and knows who is promising: those for whom tokens were drafted last."""

    def __init__(self) -> None:
        self.promising: set[Sequence] = set()
        self._steps = 0
        self._rest = 1  # how many times as seldom as usual everybody is asked
        self._questions = 0  # since the last review
        self._won_ns = 0.0  # by drafts up to then
        self._hopeless = 0  # so many sequences that no draft pays; 0: none is known

    def begin(self, decodes: int) -> bool:
        """A step of `decodes` sequences begins: whether anybody is to be asked in it."""
        self._steps += 1
        if decodes == self._hopeless:
            return self._steps % HOPELESS_WAIT == 0
        return bool(self.promising) or self.asks_all(decodes)

    def may_pay(self, decodes: int, least_gain: float) -> bool:
        """Whether to ask at all where `least_gain` (see `depth`) must be reached; remembered."""
        self._hopeless = decodes if least_gain > MOST_HOPED else 0
        return not self._hopeless

    def asks_all(self, decodes: int) -> bool:
        """Whether everybody is asked in this step."""
        wait = 1 if decodes <= FEW else min(decodes, LONGEST_WAIT)
        return self._steps % (wait * self._rest) == 0

    def note(self, drafted: set[Sequence], won_ns: float) -> None:
        """It was asked, and these drafted; all drafts verified so far have won `won_ns`."""
        self.promising = drafted
        self._questions += 1
        if self._questions < REVIEW:
            return
        pays = won_ns - self._won_ns > REVIEW * QUESTION_NS
        self._rest = max(1, self._rest // 2) if pays else min(2 * self._rest, LONGEST_REST)
        self._questions, self._won_ns = 0, won_ns
