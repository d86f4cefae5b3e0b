"""Real steps of any shape on a real backend, without an engine: what calibration times.

Sequences live in blocks of their own, filled once by a prefill of random tokens and copied, so that
keys and values come from as much memory as in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from legato.backends.base import I32, Backend, SamplingInput, StepInput
from legato.clock import Clock
from legato.program.ops import StepShape
from legato.program.program import Program


class StepDriver:
    """Runs steps of chosen shapes on `backend`, whose pool it makes and owns."""

    def __init__(
        self, program: Program, backend: Backend, *, pool_tokens: int, depth: int, chunk: int
    ) -> None:
        """A pool of `pool_tokens` tokens, each block as a prefill of `depth` tokens in chunks of
        `chunk` left it."""
        size, groups = program.kv.block_size, len(program.kv.groups)
        self.program = program
        self._backend = backend
        self._random = np.random.default_rng(7)
        self._num_blocks = pool_tokens // size
        backend.allocate_kv(self._num_blocks * groups)
        depth = min(depth, self._num_blocks * size)
        for start in range(0, depth, chunk):
            self.run(StepShape(((min(chunk, depth - start), start),), 0))
        self._fill(depth // size)

    def fits(self, shape: StepShape) -> bool:
        """Whether the pool holds a step of that shape, and the program's context too."""
        needed = sum(map(self._blocks, shape.sequences))
        longest = max(rows + past for rows, past in shape.sequences)
        return needed <= self._num_blocks and longest <= self.program.max_context

    def run(self, shape: StepShape) -> None:
        """One step: random tokens; the last rows of the first `shape.outputs` sequences are
        sampled greedily, or the last `shape.outputs` rows where those are more."""
        self._backend.run(self._step(shape))

    def time(self, shape: StepShape, clock: Clock) -> int:
        """Nanoseconds of such a step."""
        step = self._step(shape)
        start = clock.now_ns()
        self._backend.run(step)
        return clock.now_ns() - start

    def _blocks(self, sequence: tuple[int, int]) -> int:
        return -(-sum(sequence) // self.program.kv.block_size)

    def _fill(self, written: int) -> None:
        """Copy the first `written` blocks of every group over the rest of the pool."""
        groups = len(self.program.kv.groups)
        for start in range(written, self._num_blocks, max(written, 1)):
            count = min(written, self._num_blocks - start) * groups
            sources = range(count)
            self._backend.copy_blocks(sources, [start * groups + block for block in sources])

    def _step(self, shape: StepShape) -> StepInput:
        rows = [rows for rows, _ in shape.sequences]
        starts = np.array([0, *accumulate(rows)], np.int32)
        positions = [np.arange(past, past + rows) for rows, past in shape.sequences]
        return StepInput(
            token_ids=self._random.integers(0, self.program.vocab_size, starts[-1]).astype("i4"),
            positions=np.concatenate(positions).astype(np.int32),
            query_starts=starts,
            kv_lengths=np.array([sum(s) for s in shape.sequences], np.int32),
            block_tables=self._tables(shape.sequences),
            output_rows=_output_rows(starts, shape.outputs),
            sampling=greedy_sampling(shape.outputs, self.program.vocab_size),
        )

    def _tables(self, sequences: Sequence[tuple[int, int]]) -> I32:
        """Block tables i32 [groups, sequences, blocks]; sequences follow one another."""
        groups = len(self.program.kv.groups)
        counts = list(map(self._blocks, sequences))
        tables = np.full((groups, len(counts), max(counts)), -1, np.int32)
        first = 0
        for index, count in enumerate(counts):
            blocks = np.arange(first, first + count) * groups
            tables[:, index, :count] = blocks + np.arange(groups)[:, None]
            first += count
        return tables


def _output_rows(starts: I32, outputs: int) -> I32:
    """The sampled rows i32 [outputs], given the first row of each sequence and the end."""
    if outputs < len(starts):
        return starts[1 : outputs + 1] - 1
    return np.arange(starts[-1] - outputs, starts[-1], dtype=np.int32)


def greedy_sampling(outputs: int, vocab: int) -> SamplingInput:
    """Plain greedy sampling of `outputs` rows."""
    zeros, ones = np.zeros(outputs, np.float32), np.ones(outputs, np.float32)
    integers, none = np.zeros(outputs, np.int32), np.empty(0, np.int32)
    starts = np.zeros(outputs + 1, np.int32)
    return SamplingInput(
        temperature=zeros,
        top_k=integers,
        top_p=ones,
        min_p=zeros,
        presence=zeros,
        frequency=zeros,
        repetition=ones,
        seed=np.zeros(outputs, np.uint64),
        sample_index=np.zeros(outputs, np.uint32),
        position=integers,
        bias_starts=starts,
        bias_ids=none,
        bias_values=np.empty(0, np.float32),
        seen_starts=starts,
        seen_ids=none,
        seen_counts=none,
        num_logprobs=np.full(outputs, -1, np.int32),
        mask_index=np.full(outputs, -1, np.int32),
        masks=np.empty((0, -(-vocab // 32)), np.uint32),
    )
