"""The drafts of all texts that are under way, asked together: who drafts how much pays best.

A book is what the speculator knows of texts. `ReferenceBook` defines what every book does, with
drafters in Python; `legato._native.Book` does the same with native ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from legato.speculative.accept import Acceptance
from legato.speculative.depth import choose_depths
from legato.speculative.draft import Draft, Drafter
from legato.speculative.row_prices import RowPrices

I32 = npt.NDArray[np.int32]
T = TypeVar("T")

Asked = tuple[T, I32, int]
"""A text, its tokens so far (i32 [n], which only grow), and the most tokens to draft for it."""

Chosen = tuple[list[list[int]], float]
"""The draft of each text that was asked, which may be empty, and how many of all these tokens are
expected to be right."""


class Book(Protocol[T]):
    """Drafts for texts of type `T`; one for an engine, which alone calls it."""

    def open(self, tenant: str) -> T:
        """A new text; nothing is shared between tenants."""
        ...

    def propose(self, asked: Sequence[Asked[T]], prices: RowPrices, limit_ns: float) -> Chosen:
        """Drafts as deep as pays in a step of these prices that may take `limit_ns` (see
        `depth.choose_depths`).

        A text whose first guess is expected to add less than `prices.least_gain` drafts nothing.
        """
        ...

    def propose_all(self, asked: Sequence[Asked[T]], max_rows: int) -> Chosen:
        """Whatever each text guesses, in order, up to `max_rows` tokens in all."""
        ...

    def verified(self, text: T, drafted: int, accepted: int) -> None:
        """Of the draft that `text` gave last `drafted` tokens were verified, and the first
        `accepted` of them were right."""
        ...

    def finish(self, text: T, output: I32) -> None:
        """`text` has ended; `output` is what was generated of it."""
        ...


@dataclass(slots=True)
class Text:
    """A text whose first `known` tokens its draft was told; `tokens` and their `classes` are what
    it proposed last."""

    draft: Draft
    acceptance: Acceptance
    known: int = 0
    tokens: Sequence[int] = ()
    classes: Sequence[int] = ()

    def ask(self, tokens: I32, count: int) -> None:
        """Let it guess up to `count` tokens after `tokens`."""
        if self.known < len(tokens):
            self.draft.extend(tokens[self.known :].tolist())
            self.known = len(tokens)
        self.tokens = self.draft.propose(count) if count else ()
        self.classes = self.draft.confidences if self.tokens else ()

    @property
    def gains(self) -> list[float]:
        """How many tokens each guess is expected to add."""
        return self.acceptance.chain_gains(self.classes)


class ReferenceBook:
    """What every `Book` does, for any drafter."""

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter
        self._overall = Acceptance(drafter.priors)

    def open(self, tenant: str) -> Text:
        """See `Book`. Its acceptance begins with what all texts taught."""
        return Text(self._drafter.open(tenant), Acceptance(self._overall.rates))

    def propose(self, asked: Sequence[Asked[Text]], prices: RowPrices, limit_ns: float) -> Chosen:
        """See `Book`."""
        gains = []
        for text, tokens, count in asked:
            text.ask(tokens, count)
            own = text.gains
            gains.append(own if own and own[0] >= prices.least_gain else [])
        depths = choose_depths(gains, prices.decodes, prices.times, prices.margin, limit_ns)
        return _chosen(asked, gains, depths)

    def propose_all(self, asked: Sequence[Asked[Text]], max_rows: int) -> Chosen:
        """See `Book`."""
        gains, depths = [], []
        for text, tokens, count in asked:
            text.ask(tokens, count)
            gains.append(text.gains)
            depths.append(min(len(text.tokens), max_rows))
            max_rows -= depths[-1]
        return _chosen(asked, gains, depths)

    def verified(self, text: Text, drafted: int, accepted: int) -> None:
        """See `Book`."""
        classes = text.classes[:drafted]
        self._overall.observe_chain(classes, accepted)
        text.acceptance.observe_chain(classes, accepted)

    def finish(self, text: Text, output: I32) -> None:
        """See `Book`."""
        text.draft.finish(output.tolist())


def _chosen(
    asked: Sequence[Asked[Text]], gains: Sequence[Sequence[float]], depths: Sequence[int]
) -> Chosen:
    drafts, expected = [], 0.0
    for (text, _, _), own, depth in zip(asked, gains, depths, strict=True):
        drafts.append(list(text.tokens[:depth]))
        expected += sum(own[:depth])
    return drafts, expected
