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

MOST_FIXED = 64
"""Combinations of slots whose state is kept gathered."""

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
    no_entries: I32  # starts of rows that are all empty


class SlotStates:
    """Sampling state by slot. A slot is filled when another sequence than before is met in it."""

    def __init__(self, num_slots: int, vocab: int, *, newest_only: bool = False) -> None:
        """With `newest_only` a sequence has one row, for the token after all of its drafted ones,
        and nobody gets log-probabilities: what the making of a draft needs."""
        self._newest_only = newest_only
        self._masks = ConstraintMasks(num_slots, vocab)
        self._fixed: dict[tuple[int, ...], _Fixed] = {}  # by slots: drafts come and go
        self._vocab = vocab
        self._owners: list[Sequence | None] = [None] * num_slots
        self._biases: dict[int, BiasRows] = {}
        self._seen: dict[int, SeenTokens] = {}
        self._f32 = np.zeros((6, num_slots), np.float32)
        self._i32 = np.zeros((2, num_slots), np.int32)
        self._seed = np.zeros(num_slots, np.uint64)
        self._index = np.zeros(num_slots, np.uint32)

    def sampling_input(self, sequences: list[Sequence], positions: I32) -> SamplingInput:
        """The state of `sequences`: one row each, and one for each drafted token (see `__init__`).

        `positions` are those of the tokens to be chosen.
        """
        fixed = self._fixed_of(self._slots_of_rows(sequences))
        bias_starts, bias_ids, bias_values = self._bias_csr(fixed, sequences)
        seen_starts, seen_ids, seen_counts = self._seen_csr(fixed, sequences)
        rows_of = self._masks.newest if self._newest_only else self._masks.rows
        mask_index, masks = rows_of(sequences)
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
            position=positions,
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

    def varies(self, sequences: list[Sequence]) -> bool:
        """Whether more than the position changes from token to token for one of `sequences`,
        whose state was asked for before."""
        changing = self._biases.keys() | self._seen.keys()
        return any(s.matcher is not None or slot_of(s) in changing for s in sequences)

    def _slots_of_rows(self, sequences: list[Sequence]) -> list[int]:
        """The slot of each row; slots in which another sequence is met are filled."""
        slots = [slot_of(s) for s in sequences]
        for slot, sequence in zip(slots, sequences, strict=True):
            if self._owners[slot] is not sequence:
                self._fill(slot, sequence)
                self._fixed.clear()
        if not self._newest_only and any(s.draft for s in sequences):
            return [slot_of(s) for s in sequences for _ in range(1 + len(s.draft))]
        return slots

    def _fixed_of(self, slots: list[int]) -> _Fixed:
        fixed = self._fixed.get(key := tuple(slots))
        if fixed is None:
            if len(self._fixed) >= MOST_FIXED:
                self._fixed.clear()
            fixed = self._fixed[key] = self._gather(slots)
        return fixed

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
            no_entries=np.zeros(len(slots) + 1, np.int32),
        )

    def _fill(self, slot: int, sequence: Sequence) -> None:
        p = sequence.request.params
        self._owners[slot] = sequence
        temperature = 0.0 if p.greedy else p.temperature
        penalties = (p.presence_penalty, p.frequency_penalty, p.repetition_penalty)
        self._f32[:, slot] = (temperature, p.top_p, p.min_p, *penalties)
        num_logprobs = -1 if p.logprobs is None or self._newest_only else p.logprobs
        self._i32[:, slot] = (min(p.top_k, self._vocab), num_logprobs)
        self._seed[slot] = sequence.seed
        self._index[slot] = sequence.index
        self._biases.pop(slot, None)
        self._seen.pop(slot, None)
        if p.logit_bias or p.min_tokens:
            self._biases[slot] = BiasRows(sequence)
        if penalties != (0, 0, 1):
            self._seen[slot] = SeenTokens(sequence)

    def _aheads(self, sequence: Sequence) -> range:
        """After how many drafted tokens each row of `sequence` is."""
        newest = len(sequence.draft)
        return range(newest if self._newest_only else 0, newest + 1)

    def _bias_csr(self, fixed: _Fixed, sequences: list[Sequence]) -> tuple[I32, I32, F32]:
        if self._biases.keys().isdisjoint(fixed.slots):
            return fixed.no_entries, _NO_I32, _NO_F32
        rows: list[tuple[I32, F32]] = []
        for sequence in sequences:
            bias = self._biases.get(slot_of(sequence))
            for ahead in self._aheads(sequence):
                rows.append(bias.current(sequence, ahead) if bias else (_NO_I32, _NO_F32))
        return (
            _starts([ids for ids, _ in rows]),
            np.concatenate([ids for ids, _ in rows]),
            np.concatenate([values for _, values in rows]),
        )

    def _seen_csr(self, fixed: _Fixed, sequences: list[Sequence]) -> tuple[I32, I32, I32]:
        if self._seen.keys().isdisjoint(fixed.slots):
            return fixed.no_entries, _NO_I32, _NO_I32
        rows: list[tuple[I32, I32]] = []
        for sequence in sequences:
            seen = self._seen.get(slot_of(sequence))
            count = len(self._aheads(sequence))
            rows += seen.rows(sequence)[-count:] if seen else [(_NO_I32, _NO_I32)] * count
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

    def current(self, sequence: Sequence, ahead: int) -> tuple[I32, F32]:
        """ids [·] i32 and values [·] f32 for the token after `ahead` more."""
        return self._masked if sequence.num_output + ahead < self._min_tokens else self._plain


class SeenTokens:
    """The distinct tokens of one sequence and how often its output has each."""

    def __init__(self, sequence: Sequence) -> None:
        prompt = np.unique(sequence.tokens[: sequence.num_prompt])
        self._place = {token: place for place, token in enumerate(prompt.tolist())}
        self._ids = prompt.astype(np.int32)
        self._counts = np.zeros(len(prompt), np.int32)
        self._upto = sequence.num_prompt

    def rows(self, sequence: Sequence) -> list[tuple[I32, I32]]:
        """ids [·] i32 and counts [·] i32 with the output so far, and after each drafted token."""
        for token in sequence.tokens[self._upto :].tolist():
            place = self._place.setdefault(token, len(self._place))
            if place == len(self._ids):
                self._ids = _doubled(self._ids)
                self._counts = _doubled(self._counts)
            self._ids[place] = token
            self._counts[place] += 1
        self._upto = sequence.num_tokens
        size = len(self._place)
        rows = [(self._ids[:size], self._counts[:size])]
        for token in sequence.draft:
            rows.append(_with_token(*rows[-1], token))
        return rows


def slot_of(sequence: Sequence) -> int:
    """The place of a running sequence."""
    assert sequence.table is not None, (sequence.request.id, sequence.index, "is not running")
    return sequence.table.slot


def _bias_arrays(bias: dict[int, float]) -> tuple[I32, F32]:
    return np.array(list(bias), np.int32), np.array(list(bias.values()), np.float32)


def _with_token(ids: I32, counts: I32, token: int) -> tuple[I32, I32]:
    """Copies of `ids` and `counts` after one more `token` of output."""
    (places,) = np.nonzero(ids == token)
    if not len(places):
        return np.append(ids, np.int32(token)), np.append(counts, np.int32(1))
    counts = counts.copy()
    counts[places[0]] += 1
    return ids, counts


def _doubled(values: I32) -> I32:
    return np.concatenate([values, np.zeros(max(len(values), 16), np.int32)])


def _starts(rows: list[I32]) -> I32:
    return np.array(list(accumulate(map(len, rows), initial=0)), np.int32)
