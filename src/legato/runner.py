"""From a batch to the arrays of one backend call, and back to chosen tokens.

What sampling needs of a sequence is written into arrays once, when the sequence enters its slot;
a step gathers rows of them. Python touches each sequence of a step a few times, never its history.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from legato.backends.base import F32, I32, Backend, SamplingInput, StepInput, StepOutput
from legato.core import TokenLogprobs
from legato.kvcache.table import BlockTable, TableStore
from legato.scheduler.batch import Batch, Choices
from legato.scheduler.sequence import Sequence

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: dividing logits by them would overflow float32."""

_NO_I32 = np.empty(0, np.int32)
_NO_F32 = np.empty(0, np.float32)


class Runner:
    """Runs batches on one backend."""

    def __init__(self, backend: Backend, tables: TableStore, block_size: int, vocab: int) -> None:
        self._backend = backend
        self._tables = tables
        self._block_size = block_size
        self._slots = SlotStates(tables.num_slots, vocab)

    def run(self, batch: Batch) -> list[Choices]:
        """Execute `batch` once; what was chosen for each of its sequences, in order."""
        if batch.copies:
            sources, targets = zip(*batch.copies, strict=True)
            self._backend.copy_blocks(sources, targets)
        sampled = [
            s.num_computed + rows == s.num_tokens
            for s, rows in zip(batch.sequences, batch.num_rows, strict=True)
        ]
        output = self._backend.run(self._step_input(batch, sampled))
        return _choices(batch, sampled, output)

    def logits(self, table: BlockTable, tokens: I32, start: int) -> F32:
        """Logits f32 [n − start, vocab] of `tokens` [n] from position `start` on; `table` holds
        keys and values of those before."""
        length = len(tokens)
        width = -(-length // self._block_size)
        step = StepInput(
            token_ids=tokens[start:],
            positions=np.arange(start, length, dtype=np.int32),
            query_starts=np.array([0, length - start], np.int32),
            kv_lengths=np.array([length], np.int32),
            block_tables=np.ascontiguousarray(table.entries[:, None, :width]),
            output_rows=np.arange(length - start, dtype=np.int32),
            want_logits=True,
        )
        logits = self._backend.run(step).logits
        assert logits is not None, f"backend {self._backend.name} returned no logits"
        return logits

    def _step_input(self, batch: Batch, sampled: list[bool]) -> StepInput:
        sequences, num_rows = batch.sequences, batch.num_rows
        rows = np.array(num_rows, np.int32)
        starts = np.zeros(len(rows) + 1, np.int32)
        np.cumsum(rows, out=starts[1:])
        computed = np.array([s.num_computed for s in sequences], np.int32)
        lengths = computed + rows
        width = -(-int(lengths.max()) // self._block_size)
        slots = [_table(s).slot for s in sequences]
        takers = [s for s, is_sampled in zip(sequences, sampled, strict=True) if is_sampled]
        return StepInput(
            token_ids=np.concatenate(
                [
                    s.tokens[s.num_computed : s.num_computed + n]
                    for s, n in zip(sequences, num_rows, strict=True)
                ]
            ),
            positions=np.arange(starts[-1], dtype=np.int32)
            + np.repeat(computed - starts[:-1], rows),
            query_starts=starts,
            kv_lengths=lengths,
            block_tables=self._tables.entries[:, :, :width].take(slots, axis=1),
            output_rows=(starts[1:] - 1)[np.array(sampled)],
            sampling=self._slots.sampling_input(takers) if takers else None,
        )


class SlotStates:
    """Sampling state by slot. A slot is filled when another sequence than before is met in it."""

    def __init__(self, num_slots: int, vocab: int) -> None:
        self._mask_words = -(-vocab // 32)
        self._vocab = vocab
        self._owners: list[Sequence | None] = [None] * num_slots
        self._biases: dict[int, BiasRows] = {}
        self._seen: dict[int, SeenTokens] = {}
        self._f32 = np.zeros((6, num_slots), np.float32)
        self._i32 = np.zeros((2, num_slots), np.int32)
        self._seed = np.zeros(num_slots, np.uint64)
        self._index = np.zeros(num_slots, np.uint32)

    def sampling_input(self, sequences: list[Sequence]) -> SamplingInput:
        """The state of `sequences`, one row each."""
        slots = [_table(s).slot for s in sequences]
        for slot, sequence in zip(slots, sequences, strict=True):
            if self._owners[slot] is not sequence:
                self._fill(slot, sequence)
        gather = np.array(slots)
        temperature, top_p, min_p, presence, frequency, repetition = self._f32.take(gather, axis=1)
        top_k, num_logprobs = self._i32.take(gather, axis=1)
        bias_starts, bias_ids, bias_values = self._bias_csr(slots, sequences)
        seen_starts, seen_ids, seen_counts = self._seen_csr(slots, sequences)
        return SamplingInput(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            presence=presence,
            frequency=frequency,
            repetition=repetition,
            seed=self._seed[gather],
            sample_index=self._index[gather],
            position=np.array([s.num_tokens for s in sequences], np.int32),
            bias_starts=bias_starts,
            bias_ids=bias_ids,
            bias_values=bias_values,
            seen_starts=seen_starts,
            seen_ids=seen_ids,
            seen_counts=seen_counts,
            num_logprobs=num_logprobs,
            mask_index=np.full(len(slots), -1, np.int32),
            masks=np.empty((0, self._mask_words), np.uint32),
        )

    def _fill(self, slot: int, sequence: Sequence) -> None:
        p = sequence.request.params
        self._owners[slot] = sequence
        temperature = 0.0 if p.temperature < GREEDY_BELOW else p.temperature
        penalties = (p.presence_penalty, p.frequency_penalty, p.repetition_penalty)
        self._f32[:, slot] = (temperature, p.top_p, p.min_p, *penalties)
        self._i32[:, slot] = (min(p.top_k, self._vocab), -1 if p.logprobs is None else p.logprobs)
        self._seed[slot] = sequence.seed
        self._index[slot] = sequence.index
        self._biases.pop(slot, None)
        self._seen.pop(slot, None)
        if p.logit_bias or p.min_tokens:
            self._biases[slot] = BiasRows(sequence)
        if penalties != (0, 0, 1):
            self._seen[slot] = SeenTokens(sequence)

    def _bias_csr(self, slots: list[int], sequences: list[Sequence]) -> tuple[I32, I32, F32]:
        if self._biases.keys().isdisjoint(slots):
            return np.zeros(len(slots) + 1, np.int32), _NO_I32, _NO_F32
        rows = [
            self._biases[slot].current(sequence) if slot in self._biases else (_NO_I32, _NO_F32)
            for slot, sequence in zip(slots, sequences, strict=True)
        ]
        return (
            _starts([ids for ids, _ in rows]),
            np.concatenate([ids for ids, _ in rows]),
            np.concatenate([values for _, values in rows]),
        )

    def _seen_csr(self, slots: list[int], sequences: list[Sequence]) -> tuple[I32, I32, I32]:
        if self._seen.keys().isdisjoint(slots):
            return np.zeros(len(slots) + 1, np.int32), _NO_I32, _NO_I32
        rows = [
            self._seen[slot].current(sequence) if slot in self._seen else (_NO_I32, _NO_I32)
            for slot, sequence in zip(slots, sequences, strict=True)
        ]
        return (
            _starts([ids for ids, _ in rows]),
            np.concatenate([ids for ids, _ in rows]),
            np.concatenate([counts for _, counts in rows]),
        )


class BiasRows:
    """The logit bias of one sequence, with its stop tokens forbidden up to `min_tokens`."""

    def __init__(self, sequence: Sequence) -> None:
        params = sequence.request.params
        bias = {int(token): float(value) for token, value in params.logit_bias.items()}
        self._min_tokens = params.min_tokens
        self._plain = _bias_arrays(bias)
        self._masked = _bias_arrays(bias | dict.fromkeys(sequence.stop_ids, -np.inf))

    def current(self, sequence: Sequence) -> tuple[I32, F32]:
        """ids [·] i32 and values [·] f32 for the next token."""
        return self._masked if sequence.num_output < self._min_tokens else self._plain


class SeenTokens:
    """The distinct tokens of one sequence and how often its output has each."""

    def __init__(self, sequence: Sequence) -> None:
        prompt = np.unique(sequence.tokens[: sequence.num_prompt])
        self._place = {token: place for place, token in enumerate(prompt.tolist())}
        self._ids = prompt.astype(np.int32)
        self._counts = np.zeros(len(prompt), np.int32)
        self._upto = sequence.num_prompt

    def current(self, sequence: Sequence) -> tuple[I32, I32]:
        """ids [·] i32 and counts [·] i32, with the output up to now."""
        for token in sequence.tokens[self._upto :].tolist():
            place = self._place.setdefault(token, len(self._place))
            if place == len(self._ids):
                self._ids = _doubled(self._ids)
                self._counts = _doubled(self._counts)
            self._ids[place] = token
            self._counts[place] += 1
        self._upto = sequence.num_tokens
        size = len(self._place)
        return self._ids[:size], self._counts[:size]


def _table(sequence: Sequence) -> BlockTable:
    assert sequence.table is not None, (sequence.request.id, sequence.index, "is not running")
    return sequence.table


def _bias_arrays(bias: dict[int, float]) -> tuple[I32, F32]:
    return np.array(list(bias), np.int32), np.array(list(bias.values()), np.float32)


def _doubled(values: I32) -> I32:
    return np.concatenate([values, np.zeros(max(len(values), 16), np.int32)])


def _starts(rows: list[I32]) -> I32:
    return np.array(list(accumulate(map(len, rows), initial=0)), np.int32)


def _choices(batch: Batch, sampled: list[bool], output: StepOutput) -> list[Choices]:
    tokens = iter(output.token_ids.tolist())
    chosen: list[Choices] = []
    row = 0
    for sequence, is_sampled in zip(batch.sequences, sampled, strict=True):
        if not is_sampled:
            chosen.append(())
            continue
        chosen.append(((next(tokens), _logprobs(sequence, output, row)),))
        row += 1
    return chosen


def _logprobs(sequence: Sequence, output: StepOutput, row: int) -> TokenLogprobs | None:
    count = sequence.request.params.logprobs
    if count is None:
        return None
    ids, values = output.top_ids[row, :count].tolist(), output.top_logprobs[row, :count].tolist()
    return TokenLogprobs(float(output.logprobs[row]), tuple(zip(ids, values, strict=True)))
