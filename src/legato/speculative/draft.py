"""What a drafter is: it guesses how a text goes on, and is told how the text went on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from legato.speculative.accept import Rates

I32 = npt.NDArray[np.int32]


class Draft(Protocol):
    """The drafting state of one sequence. It is told every token once, in order."""

    def extend(self, tokens: Sequence[int]) -> None:
        """The text goes on with `tokens`; the first call brings the prompt."""
        ...

    def propose(self, count: int) -> list[int]:
        """At most `count` tokens that may come next; none where nothing is to be guessed."""
        ...

    def finish(self, output: Sequence[int]) -> None:
        """The text has ended; `output` is what was generated of it."""
        ...

    @property
    def confidences(self) -> Sequence[int]:
        """How well founded each token of the last proposal is, as a class from 0 on; acceptance
        is learnt for each class."""
        ...


class Drafter(Protocol):
    """Makes drafts; one for an engine."""

    @property
    def name(self) -> str:
        """As in `--speculate`."""
        ...

    @property
    def priors(self) -> Rates:
        """How often drafted tokens are right before anything was verified, by class and place."""
        ...

    def open(self, tenant: str) -> Draft:
        """The state of a new sequence; nothing is shared between tenants."""
        ...
