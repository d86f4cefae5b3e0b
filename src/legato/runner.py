"""From a batch to the arrays of one backend call, and back to chosen tokens.

Python touches each sequence of a step a few times, never its history.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from legato.backends.base import F32, I32, Backend, SamplingInput, StepInput, StepOutput
from legato.core import TokenLogprobs
from legato.decode_rows import DecodeRows
from legato.kvcache.table import BlockTable, TableStore
from legato.sampling_slots import SlotStates, slot_of
from legato.scheduler.batch import Batch, Choices
from legato.scheduler.sequence import Sequence
from legato.verify_rows import VerifyRows

SOON = 8
"""Steps without a draft after which the arrays for drafts are not used any more."""


class Runner:
    """Runs batches on one backend."""

    def __init__(self, backend: Backend, tables: TableStore, block_size: int, vocab: int) -> None:
        self._backend = backend
        self._tables = tables
        self._block_size = block_size
        self._slots = SlotStates(tables.num_slots, vocab)
        self._decodes: DecodeRows | None = None  # of the last step, if it was one of decodes
        self._verifies: VerifyRows | None = None  # of the last step with drafts
        self._steps_since = SOON  # steps of decodes since then

    def run(self, batch: Batch) -> list[Choices]:
        """Execute `batch` once; what was chosen for each of its sequences, in order."""
        if batch.copies:
            sources, targets = zip(*batch.copies, strict=True)
            self._backend.copy_blocks(sources, targets)
        decodes, self._decodes = self._decodes, None  # a step that fails is not gone on with
        if decodes is not None and decodes.continues_as(batch):
            decodes.advance()
            return self._run_decodes(decodes, batch)
        if batch.only_decodes and not self._verified_lately(batch):
            decodes = DecodeRows(batch.sequences, self._tables, self._block_size, self._slots)
            return self._run_decodes(decodes, batch)
        if _all_sample(batch):
            return self._run_verifies(batch)
        takers = [
            s
            for s, rows in zip(batch.sequences, batch.num_rows, strict=True)
            if s.samples_after(rows)
        ]
        return _choices(batch, takers, self._backend.run(self._step_input(batch, takers)))

    def logits(self, table: BlockTable, tokens: I32, start: int) -> F32:
        """Logits f32 [n − start, vocab] of `tokens` [n] from position `start` on; `table` holds
        keys and values of those before."""
        step = replace(self._scoring_step(table, tokens, start), want_logits=True)
        logits = self._backend.run(step).logits
        assert logits is not None, f"backend {self._backend.name} returned no logits"
        return logits

    def hidden(self, table: BlockTable, tokens: I32, start: int) -> F32:
        """Hidden states f32 [n − start, dim] after the last norm, otherwise like `logits`."""
        step = replace(self._scoring_step(table, tokens, start), want_hidden=True)
        hidden = self._backend.run(step).hidden
        assert hidden is not None, f"backend {self._backend.name} returned no hidden states"
        return hidden

    def _scoring_step(self, table: BlockTable, tokens: I32, start: int) -> StepInput:
        """A step over `tokens` from position `start` on whose rows are all wanted."""
        length = len(tokens)
        width = -(-length // self._block_size)
        return StepInput(
            token_ids=tokens[start:],
            positions=np.arange(start, length, dtype=np.int32),
            query_starts=np.array([0, length - start], np.int32),
            kv_lengths=np.array([length], np.int32),
            block_tables=np.ascontiguousarray(table.entries[:, None, :width]),
            output_rows=np.arange(length - start, dtype=np.int32),
        )

    def _run_decodes(self, decodes: DecodeRows, batch: Batch) -> list[Choices]:
        output = self._backend.run(decodes.step)
        chosen = decodes.take(output) or _choices(batch, batch.sequences, output)
        self._decodes = decodes
        return chosen

    def _verified_lately(self, batch: Batch) -> bool:
        """Whether the sequences of `batch`, which has no draft, verified drafts a few steps ago:
        they may do so again, and the arrays for that serve here too."""
        self._steps_since += 1
        verifies = self._verifies
        return (
            verifies is not None and self._steps_since <= SOON and verifies.serves(batch.sequences)
        )

    def _run_verifies(self, batch: Batch) -> list[Choices]:
        verifies = self._verifies
        if verifies is None or not verifies.serves(batch.sequences):
            verifies = VerifyRows(batch.sequences, self._tables, self._block_size, self._slots)
        self._verifies = verifies
        if any(sequence.draft for sequence in batch.sequences):
            self._steps_since = 0
        return _choices(batch, batch.sequences, self._backend.run(verifies.input()))

    def _step_input(self, batch: Batch, takers: list[Sequence]) -> StepInput:
        """The step of `batch`, in which `takers` get a token."""
        sequences = batch.sequences
        rows = np.array(batch.num_rows, np.int32)
        starts = np.zeros(len(rows) + 1, np.int32)
        np.cumsum(rows, out=starts[1:])
        computed = np.array([s.num_computed for s in sequences], np.int32)
        lengths = computed + rows
        width = -(-int(lengths.max()) // self._block_size)
        slots = [slot_of(s) for s in sequences]
        offsets = np.repeat(computed - starts[:-1], rows)
        return StepInput(
            token_ids=_token_ids(batch),
            positions=np.arange(len(offsets), dtype=np.int32) + offsets,
            query_starts=starts,
            kv_lengths=lengths,
            block_tables=self._tables.entries[:, :, :width].take(slots, axis=1),
            output_rows=_output_rows(batch, starts),
            sampling=self._sampling_input(takers),
        )

    def _sampling_input(self, takers: list[Sequence]) -> SamplingInput | None:
        if not takers:
            return None
        positions = [s.num_tokens + ahead for s in takers for ahead in range(1 + len(s.draft))]
        return self._slots.sampling_input(takers, np.array(positions, np.int32))


def _all_sample(batch: Batch) -> bool:
    """Whether every sequence of `batch` decodes and may verify a draft, and does nothing else."""
    return all(
        rows == 1 + len(s.draft) and s.num_computed + 1 == s.num_tokens
        for s, rows in zip(batch.sequences, batch.num_rows, strict=True)
    )


def _token_ids(batch: Batch) -> I32:
    """The pending and drafted tokens that take part in a step, i32 [rows]."""
    parts: list[I32] = []
    for sequence, rows in zip(batch.sequences, batch.num_rows, strict=True):
        parts.append(sequence.tokens[sequence.num_computed :][:rows])
        if sequence.draft:
            parts.append(np.array(sequence.draft, np.int32))
    return np.concatenate(parts)


def _output_rows(batch: Batch, starts: I32) -> I32:
    """The rows of which a token is sampled, i32 [R], given the first row of each sequence."""
    counts = [s.samples_after(n) for s, n in zip(batch.sequences, batch.num_rows, strict=True)]
    total = sum(counts)
    if total == len(counts) and all(counts):  # the last row of each
        return starts[1:] - 1
    ends = np.repeat(starts[1:], counts)
    before_end = np.repeat(np.cumsum(counts), counts) - np.arange(total)
    return (ends - before_end).astype(np.int32)


def _choices(batch: Batch, takers: list[Sequence], output: StepOutput) -> list[Choices]:
    tokens = output.token_ids.tolist()
    chosen: list[Choices] = []
    row = 0
    for sequence in takers:
        end, wanted = row + 1 + len(sequence.draft), sequence.request.params.logprobs
        if wanted is None:
            chosen.append(tuple((token, None) for token in tokens[row:end]))
        else:
            own = range(row, end)
            chosen.append(tuple((tokens[i], _logprobs(output, i, wanted)) for i in own))
        row = end
    if len(takers) == len(batch.sequences):
        return chosen
    by_taker = dict(zip(takers, chosen, strict=True))
    return [by_taker.get(sequence, ()) for sequence in batch.sequences]


def _logprobs(output: StepOutput, row: int, count: int) -> TokenLogprobs:
    ids, values = output.top_ids[row, :count].tolist(), output.top_logprobs[row, :count].tolist()
    return TokenLogprobs(float(output.logprobs[row]), tuple(zip(ids, values, strict=True)))
