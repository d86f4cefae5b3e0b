"""Which tokens may come next, for the sequences of a step whose output is constrained.

Masks are computed at the beginning of a step, after the tokens of the step before were handed
over: nobody waits for them but the step itself, and the GIL is free meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence as List

import numpy as np

from legato.backends.base import I32, U32
from legato.scheduler.sequence import Sequence

_log = logging.getLogger(__name__)


class ConstraintMasks:
    """The masks of a step, in memory that is used again by the next."""

    def __init__(self, num_slots: int, vocab: int) -> None:
        self._vocab = vocab
        self._words = -(-vocab // 32)
        self._num_slots = num_slots
        self._masks = np.empty((0, self._words), np.uint32)

    def rows(self, sequences: List[Sequence]) -> tuple[I32, U32]:
        """mask_index i32 [len(sequences)] and masks u32 [·, ceil(vocab / 32)]; they hold until
        the next call.

        A matcher that fails leaves its row empty and `Sequence.fault` set: no token can be
        chosen there, which ends that request and no other.
        """
        index = np.full(len(sequences), -1, np.int32)
        constrained = [i for i, s in enumerate(sequences) if s.matcher is not None]
        if not constrained:
            return index, self._masks[:0]
        if not len(self._masks):
            self._masks = np.empty((self._num_slots, self._words), np.uint32)
        for row, place in enumerate(constrained):
            index[place] = row
            self._fill(self._masks[row], sequences[place])
        return index, self._masks[: len(constrained)]

    def _fill(self, mask: U32, sequence: Sequence) -> None:
        assert sequence.matcher is not None
        try:
            sequence.matcher.fill_mask(mask)
        except Exception:
            _log.exception("no mask for request %s", sequence.request.id)
            sequence.fault = "the form of the output that was asked for became too complex"
            mask[:] = 0
            return
        if sequence.num_output < sequence.request.params.min_tokens:
            _forbid(mask, [token for token in sequence.stop_ids if token < self._vocab])


def _forbid(mask: U32, tokens: List[int]) -> None:
    """Take `tokens` out of `mask`, unless nothing else is left: the constraint's end is the end."""
    ids = np.array(tokens, np.int64)
    before = mask.copy()
    np.bitwise_and.at(mask, ids // 32, ~(np.uint32(1) << (ids % 32).astype(np.uint32)))
    if not mask.any():
        mask[:] = before
