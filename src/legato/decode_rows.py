"""The step in which the same sequences decode one row each, again and again: what most steps are.

Weights stream through the caches in every step and push Python out of them, so that each array or
object that a step touches costs several times what it costs alone. Here the arrays of one step
become those of the next in place.
"""

from __future__ import annotations

import numpy as np

from legato.backends.base import I32, StepInput, StepOutput
from legato.kvcache.table import TableStore
from legato.sampling_slots import SlotStates, slot_of
from legato.scheduler.batch import Batch, Choices
from legato.scheduler.sequence import Sequence

SPARE_BLOCKS = 16
"""Columns of the block tables beyond those in use, for tokens to come."""


def table_width(longest: int, block_size: int, store: TableStore) -> int:
    """Blocks of a row of block tables for up to `longest` tokens, with some that will be needed."""
    return min(-(-longest // block_size) + SPARE_BLOCKS, store.max_blocks)


class DecodeRows:
    """One `StepInput` over one pending token of each of some sequences.

    `advance` makes it what a new one would be after the next token of each, as long as each keeps
    its block table: positions and lengths grow by one, and a table changes only where its sequence
    begins a block, every `block_size` steps.

    Attributes:
        step: what the backend is to run.
    """

    def __init__(
        self, sequences: list[Sequence], store: TableStore, block_size: int, slots: SlotStates
    ) -> None:
        """`sequences` run and have one token to compute each."""
        self._tables = [sequence.table for sequence in sequences]
        self._block_size = block_size
        lengths = [sequence.num_tokens for sequence in sequences]
        self._moving = np.array([[n - 1 for n in lengths], lengths], np.int32)
        width = table_width(max(lengths), block_size, store)
        self._steps_left = width * block_size - max(lengths)
        self._age = 0
        self._beginners: list[list[int]] = [[] for _ in range(block_size)]
        for row, length in enumerate(lengths):
            self._beginners[(1 - length) % block_size].append(row)
        numbers = np.arange(len(sequences) + 1, dtype=np.int32)
        self.step = StepInput(
            token_ids=np.array([sequence.last_token for sequence in sequences], np.int32),
            positions=self._moving[0],
            query_starts=numbers,
            kv_lengths=self._moving[1],
            block_tables=store.entries[:, :, :width].take([slot_of(s) for s in sequences], axis=1),
            output_rows=numbers[:-1],
            sampling=slots.sampling_input(sequences, self._moving[1]),
        )
        self._chosen: I32 = self.step.token_ids
        self._plain = all(s.request.params.logprobs is None for s in sequences)
        self._may_go_on = not slots.varies(sequences)

    def continues_as(self, batch: Batch) -> bool:
        """Whether `batch` is what `advance` would make of this step."""
        return (
            batch.only_decodes
            and self._may_go_on
            and self._steps_left > 0
            and [sequence.table for sequence in batch.sequences] == self._tables
        )

    def advance(self) -> None:
        """Go on to the step after that whose result was given to `take`."""
        self._age += 1
        self._steps_left -= 1
        self._moving += 1
        self.step.token_ids[:] = self._chosen
        for row in self._beginners[self._age % self._block_size]:
            table = self._tables[row]
            assert table is not None
            tables = self.step.block_tables
            tables[:, row] = table.entries[:, : tables.shape[2]]

    def take(self, output: StepOutput) -> list[Choices] | None:
        """The step gave `output`. What was chosen for each sequence, where tokens are all of it;
        None where log-probabilities are wanted too."""
        self._chosen = output.token_ids
        if not self._plain:
            return None
        return [((token, None),) for token in output.token_ids.tolist()]
