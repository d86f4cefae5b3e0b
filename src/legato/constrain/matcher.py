"""One sample on its way through a grammar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher

U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class GrammarConstraint:
    """A compiled grammar; a `Constraint` of the engine. Shared by all who ask for the same.

    Attributes:
        origin: a matcher at the beginning, never moved.
        first_mask: u32 [words], what may come first.
        usable: u32 [words], ordinary tokens and those that end a sequence.
    """

    origin: LLMatcher
    first_mask: U32
    usable: U32

    def start(self) -> GrammarMatcher:
        """A matcher at the beginning."""
        return GrammarMatcher(self)


class GrammarMatcher:
    """A `Matcher` of the engine. The GIL is not held while a mask is computed."""

    def __init__(self, constraint: GrammarConstraint) -> None:
        self._constraint = constraint
        self._matcher = constraint.origin.deep_copy()
        self._length = 0

    def fill_mask(self, mask: U32) -> None:
        """Write into `mask`, u32 [≥ words], which tokens may come next.

        Raises ValueError where the grammar has become too ambiguous to be followed.
        """
        usable = self._constraint.usable
        own = mask[: len(usable)]
        mask[len(usable) :] = 0
        if self._length == 0:
            own[:] = self._constraint.first_mask
            return
        compute_mask(self._matcher, own)
        np.bitwise_and(own, usable, out=own)

    def accept(self, token: int) -> None:
        """Go on with `token`. ValueError, and nothing changes, where it is not allowed."""
        if self._matcher.try_consume_tokens([token]) != 1:
            reason = self._matcher.get_error() or "the grammar does not allow it here"
            raise ValueError(f"token {token} cannot be accepted: {reason}")
        self._length += 1

    def rollback(self, count: int) -> None:
        """Forget the last `count` accepted tokens; ValueError where there are fewer."""
        if not 0 <= count <= self._length or not self._matcher.rollback(count):
            raise ValueError(f"cannot forget {count} of {self._length} accepted tokens")
        self._length -= count


def compute_mask(matcher: LLMatcher, mask: U32) -> None:
    """Fill all of `mask`, contiguous u32. ValueError where `matcher` has failed."""
    matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
    if matcher.is_error():
        raise ValueError(matcher.get_error())


def usable_tokens(vocab_size: int, special: frozenset[int], eos: frozenset[int]) -> U32:
    """Bits of the ordinary tokens and those that end a sequence, u32 [ceil(vocab / 32)]."""
    bits = np.zeros(-(-vocab_size // 32) * 32, np.uint8)
    bits[:vocab_size] = 1
    bits[sorted(special - eos)] = 0
    return np.packbits(bits, bitorder="little").view(np.uint32)
