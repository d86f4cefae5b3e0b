"""Steps in which the same sequences decode and verify drafts of changing lengths.

As in `decode_rows`, what a step touches in Python costs several times what it costs alone. So the
arrays of each combination of lengths are kept, and written in place when it comes again.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from legato.backends.base import I32, StepInput
from legato.decode_rows import table_width
from legato.kvcache.table import TableStore
from legato.sampling_slots import SlotStates
from legato.scheduler.sequence import Sequence

MOST_KEPT = 32
"""Combinations of lengths that are kept."""


class VerifyRows:
    """`StepInput`s over the pending token and the draft of each of some sequences."""

    def __init__(
        self, sequences: list[Sequence], store: TableStore, block_size: int, slots: SlotStates
    ) -> None:
        """`sequences` run, and have one token to compute each besides their drafts."""
        self._sequences = list(sequences)
        self._tables = [sequence.table for sequence in sequences]
        self._slots = slots
        longest = max(sequence.num_tokens + len(sequence.draft) for sequence in sequences)
        width = table_width(longest, block_size, store)
        self._room = width * block_size
        self._blocks = np.empty((store.num_groups, len(sequences), width), np.int32)
        self._written: list[tuple[int, int]] = [(-1, -1)] * len(sequences)
        self._kept: dict[tuple[int, ...], _Kept] = {}
        self._varies = True  # until `input` is asked

    def serves(self, sequences: list[Sequence]) -> bool:
        """Whether `input`, which was asked before, makes the step of `sequences`, each as long as
        it is now."""
        return (
            [sequence.table for sequence in sequences] == self._tables
            and all(s.num_tokens + len(s.draft) <= self._room for s in sequences)
            and not self._varies
        )

    def input(self) -> StepInput:
        """The step of the sequences as they are now; valid until it is asked again."""
        counts = tuple([1 + len(sequence.draft) for sequence in self._sequences])
        kept = self._kept.get(counts)
        if kept is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            kept = self._kept[counts] = self._new(counts)
            self._varies = self._slots.varies(self._sequences)
        self._write_blocks()
        kept.write(self._sequences)
        return kept.step

    def _new(self, counts: tuple[int, ...]) -> _Kept:
        total = sum(counts)
        moving = np.zeros((2, total), np.int32)
        step = StepInput(
            token_ids=np.zeros(total, np.int32),
            positions=moving[0],
            query_starts=np.array([0, *accumulate(counts)], np.int32),
            kv_lengths=np.zeros(len(counts), np.int32),
            block_tables=self._blocks,
            output_rows=np.arange(total, dtype=np.int32),
            sampling=self._slots.sampling_input(self._sequences, moving[1]),
        )
        return _Kept(step, moving, np.array([n for count in counts for n in range(count)], "i4"))

    def _write_blocks(self) -> None:
        for row, table in enumerate(self._tables):
            assert table is not None
            now = (table.num_blocks, table.num_full)
            if self._written[row] != now:
                self._blocks[:, row] = table.entries[:, : self._blocks.shape[2]]
                self._written[row] = now


class _Kept:
    """The step of one combination of lengths; `moving` i32 [2, rows] are its positions and those
    of the tokens that it chooses, `ahead` i32 [rows] how many drafted tokens are before a row."""

    def __init__(self, step: StepInput, moving: I32, ahead: I32) -> None:
        self.step = step
        self._moving = moving
        self._ahead = ahead

    def write(self, sequences: list[Sequence]) -> None:
        """Make it the step of `sequences` as they are now."""
        tokens: list[int] = []
        lengths: list[int] = []
        for sequence in sequences:
            tokens.append(sequence.last_token)
            tokens += sequence.draft
            lengths.append(sequence.num_tokens + len(sequence.draft))
        step, (positions, chosen) = self.step, self._moving
        step.token_ids[:] = tokens
        step.kv_lengths[:] = lengths
        if len(sequences) == 1:
            np.add(self._ahead, sequences[0].num_tokens, out=chosen)
        else:
            starts = [s.num_tokens for s in sequences for _ in range(1 + len(s.draft))]
            np.add(self._ahead, np.array(starts, np.int32), out=chosen)
        np.subtract(chosen, 1, out=positions)
