"""Steps of a draft program: from sequences and their drafted tokens to the arrays of one call."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as List
from dataclasses import dataclass, replace

import numpy as np

from legato.backends.base import I32, Backend, SamplingInput, StepInput
from legato.sampling_slots import SlotStates
from legato.scheduler.sequence import Sequence
from legato.speculative.settings import MAX_DEPTH

Tables = Callable[[I32], I32]
"""From the target's block ids i32 [G, S, B] to those that the draft program uses."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one sequence: `tokens` [n] i32 at the positions from `past` on. With `samples` the
    token after them is chosen."""

    sequence: Sequence
    tokens: I32
    past: int
    samples: bool = True


class DraftSteps:
    """Runs a draft program over sequences of the target.

    Tokens are chosen as the target will choose them: with the same noise, filters, penalties,
    biases and masks. So a draft is right wherever both programs rank the tokens alike.
    """

    def __init__(
        self,
        backend: Backend,
        tables: Tables,
        *,
        block_size: int,
        num_slots: int,
        vocab: int,
        draft_vocab: int,
        input_vocab: int,
    ) -> None:
        """`vocab` is the target's; of its tokens the draft can choose the first `draft_vocab`, and
        read the first `input_vocab`."""
        self._backend = backend
        self._tables = tables
        self._block_size = block_size
        self._vocab = min(vocab, draft_vocab)
        self._clips = self._vocab < vocab
        self._input_vocab = input_vocab if input_vocab < vocab else 0
        self._slots = SlotStates(num_slots, vocab, newest_only=True)
        self._going: _Going | None = None  # of the round under way

    def run(self, parts: List[Part]) -> dict[Sequence, int]:
        """The tokens chosen, by sequence; NO_TOKEN where none can be."""
        self._going = None
        takers = [part.sequence for part in parts if part.samples]
        return self._run(self._input(parts, takers), takers)

    def run_newest(self, sequences: list[Sequence]) -> dict[Sequence, int]:
        """Go on after `run` with the newest drafted token of each of `sequences`."""
        if self._going is not None and self._going.sequences == sequences:
            self._going.advance()
        else:
            step = self._input([_newest_part(sequence) for sequence in sequences], sequences)
            self._going = None if self._slots.varies(sequences) else _Going(sequences, step)
            return self._run(step, sequences)
        return self._run(self._going.step, sequences)

    def _run(self, step: StepInput, takers: list[Sequence]) -> dict[Sequence, int]:
        return dict(zip(takers, self._backend.run(step).token_ids.tolist(), strict=True))

    def close(self) -> None:
        """Release the draft program's backend."""
        self._backend.close()

    def _input(self, parts: List[Part], takers: list[Sequence]) -> StepInput:
        counts = np.array([len(part.tokens) for part in parts], np.int32)
        starts = np.zeros(len(parts) + 1, np.int32)
        np.cumsum(counts, out=starts[1:])
        past = np.array([part.past for part in parts], np.int32)
        lengths = past + counts
        samples = np.array([part.samples for part in parts])
        offsets = np.repeat(past - starts[:-1], counts)
        return StepInput(
            token_ids=self._readable(np.concatenate([part.tokens for part in parts])),
            positions=np.arange(len(offsets), dtype=np.int32) + offsets,
            query_starts=starts,
            kv_lengths=lengths,
            block_tables=self._block_tables(parts, int(lengths.max())),
            output_rows=starts[1:][samples] - 1,
            sampling=self._sampling(takers, lengths[samples]) if takers else None,
        )

    def _block_tables(self, parts: List[Part], longest: int) -> I32:
        width = -(-(longest + MAX_DEPTH) // self._block_size)  # a round goes on with these tables
        tables = (part.sequence.table for part in parts)
        entries = [table.entries[:, :width] for table in tables if table is not None]
        return self._tables(np.stack(entries, axis=1))

    def _readable(self, tokens: I32) -> I32:
        """Tokens that only the target knows are read as another one: a guess more or less."""
        return np.where(tokens < self._input_vocab, tokens, 0) if self._input_vocab else tokens

    def _sampling(self, takers: list[Sequence], positions: I32) -> SamplingInput:
        sampling = self._slots.sampling_input(takers, positions)
        return clip_sampling(sampling, self._vocab) if self._clips else sampling


@dataclass(slots=True)
class _Going:
    """A step of one row of each of some sequences, which becomes the next one in place."""

    sequences: list[Sequence]
    step: StepInput

    def advance(self) -> None:
        """Go on to the newest drafted token of each."""
        step = self.step
        assert step.sampling is not None
        step.token_ids[:] = [sequence.draft[-1] for sequence in self.sequences]
        for positions in (step.positions, step.kv_lengths, step.sampling.position):
            positions += 1


def _newest_part(sequence: Sequence) -> Part:
    """The row of the newest drafted token."""
    draft = sequence.draft
    return Part(sequence, np.array(draft[-1:], np.int32), sequence.num_tokens + len(draft) - 1)


def clip_sampling(sampling: SamplingInput, vocab: int) -> SamplingInput:
    """`sampling` for the first `vocab` tokens only."""
    bias, seen = sampling.bias_ids < vocab, sampling.seen_ids < vocab
    return replace(
        sampling,
        top_k=np.minimum(sampling.top_k, vocab),
        bias_starts=_kept_starts(sampling.bias_starts, bias),
        bias_ids=sampling.bias_ids[bias],
        bias_values=sampling.bias_values[bias],
        seen_starts=_kept_starts(sampling.seen_starts, seen),
        seen_ids=sampling.seen_ids[seen],
        seen_counts=sampling.seen_counts[seen],
        masks=np.ascontiguousarray(sampling.masks[:, : -(-vocab // 32)]),
    )


def _kept_starts(starts: I32, kept: np.ndarray) -> I32:
    """Where rows start when only the `kept` entries are left."""
    sums = np.zeros(len(kept) + 1, np.int32)
    np.cumsum(kept, out=sums[1:])
    return sums[starts]


def own_pool_tables(group: int, num_groups: int) -> Tables:
    """For a draft with a pool of its own: the target's block b of `group` stands for the blocks
    `num_groups` · b + g of the draft, one for each of its groups g."""

    def tables(entries: I32) -> I32:
        offsets = np.arange(num_groups, dtype=np.int32)[:, None, None]
        blocks: I32 = entries[group] * np.int32(num_groups) + offsets
        return blocks

    return tables


def same_tables(entries: I32) -> I32:
    """For a draft in the target's own pool."""
    return np.ascontiguousarray(entries)
