"""Which tokens may come next, for the sequences of a step whose output is constrained.

Masks are computed at the beginning of a step, after the tokens of the step before were handed
over: nobody waits for them but the step itself, and the GIL is free meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence as List

import numpy as np

from legato.backends.base import I32, U32
from legato.core import Matcher
from legato.scheduler.sequence import Sequence

_log = logging.getLogger(__name__)


class ConstraintMasks:
    """The masks of a step, in memory that is used again by the next."""

    def __init__(self, num_slots: int, vocab: int) -> None:
        self._vocab = vocab
        self._words = -(-vocab // 32)
        self._num_slots = num_slots
        self._masks = np.empty((0, self._words), np.uint32)

    def newest(self, sequences: List[Sequence]) -> tuple[I32, U32]:
        """mask_index i32 [S] and masks of one row for each sequence: after all its drafted tokens.

        Where a matcher fails there is no mask; the step that verifies will meet it again.
        """
        index = np.full(len(sequences), -1, np.int32)
        if all(s.matcher is None for s in sequences):
            return index, self._masks[:0]
        if len(self._masks) < len(sequences):
            self._masks = np.empty((self._num_slots, self._words), np.uint32)
        row = 0
        for place, sequence in enumerate(sequences):
            matcher = sequence.matcher
            if matcher is not None and self._fill_newest(self._masks[row], sequence, matcher):
                index[place] = row
                row += 1
        return index, self._masks[:row]

    def rows(self, sequences: List[Sequence]) -> tuple[I32, U32]:
        """mask_index i32 [R] and masks u32 [·, ceil(vocab / 32)] of the R sampled rows: one for
        each sequence and one for each drafted token. They hold until the next call.

        A matcher that fails leaves its row empty and `Sequence.fault` set: no token can be
        chosen there, which ends that request and no other.
        """
        counts = [1 + len(s.draft) for s in sequences]
        index = np.full(sum(counts), -1, np.int32)
        if all(s.matcher is None for s in sequences):
            return index, self._masks[:0]
        wanted = [n for s, n in zip(sequences, counts, strict=True) if s.matcher is not None]
        if len(self._masks) < sum(wanted):
            self._masks = np.empty((max(self._num_slots, sum(wanted)), self._words), np.uint32)
        row = place = 0
        for sequence, count in zip(sequences, counts, strict=True):
            if sequence.matcher is not None:
                index[place : place + count] = range(row, row + count)
                self._fill(self._masks[row : row + count], sequence, sequence.matcher)
                row += count
            place += count
        return index, self._masks[:row]

    def _fill(self, masks: U32, sequence: Sequence, matcher: Matcher) -> None:
        """The masks of one sequence: for its next token, and after each drafted one."""
        try:
            self._fill_ahead(masks, sequence, matcher)
        except Exception:
            _log.exception("no mask for request %s", sequence.request.id)
            sequence.fault = "the form of the output that was asked for became too complex"
            masks[:] = 0

    def _fill_newest(self, mask: U32, sequence: Sequence, matcher: Matcher) -> bool:
        accepted = 0
        try:
            for token in sequence.draft:
                matcher.accept(token)
                accepted += 1
            self._fill_one(mask, sequence, matcher, accepted)
        except Exception:
            return False
        finally:
            if accepted:
                matcher.rollback(accepted)
        return True

    def _fill_ahead(self, masks: U32, sequence: Sequence, matcher: Matcher) -> None:
        accepted = 0
        self._fill_one(masks[0], sequence, matcher, 0)
        for ahead, token in enumerate(sequence.draft, 1):
            if not masks[ahead - 1, token // 32] >> (token % 32) & 1:
                masks[ahead:] = 0  # the draft is wrong here: what comes after it is never used
                break
            if token in sequence.stop_ids:
                masks[ahead:] = 0  # likewise after the end
                break
            matcher.accept(token)
            accepted += 1
            self._fill_one(masks[ahead], sequence, matcher, ahead)
        if accepted:
            matcher.rollback(accepted)

    def _fill_one(self, mask: U32, sequence: Sequence, matcher: Matcher, ahead: int) -> None:
        matcher.fill_mask(mask)
        if sequence.num_output + ahead < sequence.request.params.min_tokens:
            _forbid(mask, [token for token in sequence.stop_ids if token < self._vocab])


def _forbid(mask: U32, tokens: List[int]) -> None:
    """Take `tokens` out of `mask`, unless nothing else is left: the constraint's end is the end."""
    ids = np.array(tokens, np.int64)
    before = mask.copy()
    np.bitwise_and.at(mask, ids // 32, ~(np.uint32(1) << (ids % 32).astype(np.uint32)))
    if not mask.any():
        mask[:] = before
