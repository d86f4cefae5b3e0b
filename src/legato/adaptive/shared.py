"""A number of samples that several questions divide among them, as they come to need them."""

from __future__ import annotations

from typing import Protocol

from legato.adaptive.decisions import Strategy
from legato.adaptive.sharing import share_samples
from legato.errors import InvalidRequestError


class Member(Protocol):
    """A question that is not decided yet."""

    def votes(self) -> tuple[int, int]:
        """Of the first and of the second answer so far."""
        ...


class SharedSamples:
    """Gives each question one sample to begin with, and further ones in rounds.

    A question that wants more waits until all others wait too or are decided. Then a round of as
    many samples as questions wait goes where the votes are most open (`sharing.share_samples`).
    So what a question gets depends on the questions alone.
    """

    def __init__(self, samples: int, questions: int, strategy: Strategy) -> None:
        """`samples` for so many `questions`, each decided by `strategy`.

        Raises InvalidRequestError where they are too few, or the strategy counts no answers.
        """
        if samples < questions:
            raise InvalidRequestError(
                f"total_samples is {samples}; {questions} questions need one each", "total_samples"
            )
        if not strategy.needs_answer:
            raise InvalidRequestError(
                "total_samples needs a strategy that counts answers", "total_samples"
            )
        self._left = samples
        self._waiting: dict[Member, int] = {}  # and how many each may still draw
        self._granted: dict[Member, int] = {}
        self._begun: set[Member] = set()

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left to give."""
        return self._left == 0 and not self._granted

    def take(self, member: Member, most: int) -> int:
        """How many samples `member` may draw now, of the `most` that it may still draw; where
        there are none it waits for the next round."""
        if member not in self._begun:
            self._begun.add(member)
            self._left -= 1
            return 1
        granted = self._granted.pop(member, 0)
        if not granted:
            self._waiting[member] = most
        return granted

    def give(self) -> None:
        """A round: nobody runs, everyone undecided has asked."""
        members = list(self._waiting)
        samples = min(self._left, len(members))
        shares = share_samples(
            [member.votes() for member in members], samples, list(self._waiting.values())
        )
        self._left -= sum(shares)
        granted = zip(members, shares, strict=True)
        self._granted = {member: share for member, share in granted if share}
        self._waiting.clear()
