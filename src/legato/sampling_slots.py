"""What sampling needs of each running sequence, in arrays by slot.

It is written once, when a sequence enters its slot; a step gathers rows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from legato.backends.base import F32, I32, U32, U64, SamplingInput
from legato.constraint_masks import ConstraintMasks
from legato.scheduler.sequence import Sequence

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: dividing logits by them would overflow float32."""

_NO_I32 = np.empty(0, np.int32)
_NO_F32 = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What sampling needs of some slots, in this order, that does not change from step to step."""

    slots: list[int]
    temperature: F32
    top_p: F32
    min_p: F32
    presence: F32
    frequency: F32
    repetition: F32
    top_k: I32
    num_logprobs: I32
    seed: U64
    sample_index: U32


class SlotStates:
    """Sampling state by slot. A slot is filled when another sequence than before is met in it."""

    def __init__(self, num_slots: int, vocab: int) -> None:
        self._masks = ConstraintMasks(num_slots, vocab)
        self._fixed: _Fixed | None = None
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
        slots = [slot_of(s) for s in sequences]
        for slot, sequence in zip(slots, sequences, strict=True):
            if self._owners[slot] is not sequence:
                self._fill(slot, sequence)
                self._fixed = None
        if self._fixed is None or self._fixed.slots != slots:
            self._fixed = self._gather(slots)
        fixed = self._fixed
        bias_starts, bias_ids, bias_values = self._bias_csr(slots, sequences)
        seen_starts, seen_ids, seen_counts = self._seen_csr(slots, sequences)
        mask_index, masks = self._masks.rows(sequences)
        return SamplingInput(
            temperature=fixed.temperature,
            top_k=fixed.top_k,
            top_p=fixed.top_p,
            min_p=fixed.min_p,
            presence=fixed.presence,
            frequency=fixed.frequency,
            repetition=fixed.repetition,
            seed=fixed.seed,
            sample_index=fixed.sample_index,
            position=np.array([s.num_tokens for s in sequences], np.int32),
            bias_starts=bias_starts,
            bias_ids=bias_ids,
            bias_values=bias_values,
            seen_starts=seen_starts,
            seen_ids=seen_ids,
            seen_counts=seen_counts,
            num_logprobs=fixed.num_logprobs,
            mask_index=mask_index,
            masks=masks,
        )

    def _gather(self, slots: list[int]) -> _Fixed:
        temperature, top_p, min_p, presence, frequency, repetition = self._f32.take(slots, axis=1)
        top_k, num_logprobs = self._i32.take(slots, axis=1)
        return _Fixed(
            slots=slots,
            temperature=temperature,
            top_p=top_p,
            min_p=min_p,
            presence=presence,
            frequency=frequency,
            repetition=repetition,
            top_k=top_k,
            num_logprobs=num_logprobs,
            seed=self._seed.take(slots),
            sample_index=self._index.take(slots),
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
        # Where a constraint holds, its masks forbid the stop tokens: it may need one.
        self._min_tokens = 0 if sequence.matcher is not None else params.min_tokens
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


def slot_of(sequence: Sequence) -> int:
    """The place of a running sequence."""
    assert sequence.table is not None, (sequence.request.id, sequence.index, "is not running")
    return sequence.table.slot


def _bias_arrays(bias: dict[int, float]) -> tuple[I32, F32]:
    return np.array(list(bias), np.int32), np.array(list(bias.values()), np.float32)


def _doubled(values: I32) -> I32:
    return np.concatenate([values, np.zeros(max(len(values), 16), np.int32)])


def _starts(rows: list[I32]) -> I32:
    return np.array(list(accumulate(map(len, rows), initial=0)), np.int32)
