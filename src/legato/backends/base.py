"""The contract between the engine and whatever executes a program: one call a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingInput:
    """Sampling state of R output rows; the meaning of each field is in `SamplingParams`.

    Ragged fields are in CSR form: row r owns entries [starts[r], starts[r + 1]).

    Attributes:
        temperature, top_p, min_p, presence, frequency, repetition: f32 [R].
        top_k: i32 [R], 0 keeps all.
        seed: u64 [R].  sample_index: u32 [R], which of the n samples.
        position: i32 [R], absolute position of the token to be chosen (prompt + output so far).
        bias_starts: i32 [R + 1]; bias_ids: i32 [·]; bias_values: f32 [·]; -inf forbids a token.
        seen_starts: i32 [R + 1]; seen_ids: i32 [·], the distinct tokens of prompt and output;
            seen_counts: i32 [·], occurrences in the output alone (0: in the prompt only).
            A row without penalties leaves its range empty.
        num_logprobs: i32 [R]; -1 none, k ≥ 0 the chosen token's and k alternatives.
        mask_index: i32 [R], row of `masks` that applies, or -1.
        masks: u32 [·, ceil(vocab / 32)], bit t set where token t is allowed.
    """

    temperature: F32
    top_k: I32
    top_p: F32
    min_p: F32
    presence: F32
    frequency: F32
    repetition: F32
    seed: U64
    sample_index: U32
    position: I32
    bias_starts: I32
    bias_ids: I32
    bias_values: F32
    seen_starts: I32
    seen_ids: I32
    seen_counts: I32
    num_logprobs: I32
    mask_index: I32
    masks: U32


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInput:
    """One step over T token rows of S sequences, of which R rows are sampled.

    Sequence s owns rows [query_starts[s], query_starts[s + 1]); its rows are consecutive
    positions that end at kv_lengths[s] − 1. The step first writes keys and values of all rows
    into the blocks, then each row attends to positions 0..its own (within the window).

    Attributes:
        token_ids: i32 [T].  positions: i32 [T].
        query_starts: i32 [S + 1].  kv_lengths: i32 [S], tokens cached after this step.
        block_tables: i32 [G, S, B], block ids per KV group; -1 where a sliding window has
            moved past, or beyond the sequence.
        output_rows: i32 [R], rows whose logits are wanted, ascending.
        sampling: state of the R rows; None when only logits are wanted.
        want_logits: return the logits of the R rows as well.
        want_hidden: return what the head reads of the R rows. Without sampling and logits the
            head is not computed.
    """

    token_ids: I32
    positions: I32
    query_starts: I32
    kv_lengths: I32
    block_tables: I32
    output_rows: I32
    sampling: SamplingInput | None = None
    want_logits: bool = False
    want_hidden: bool = False


@dataclass(slots=True, kw_only=True)
class StepOutput:
    """What one step chose. Nobody changes it; it is not frozen because every step makes one.

    K is the largest `num_logprobs` in the step (0 if none asked).

    Attributes:
        token_ids: i32 [R] (empty without sampling).
        logprobs: f32 [R], log-probability of the chosen token; NaN where not asked for.
        top_ids: i32 [R, K]; top_logprobs: f32 [R, K], most likely first; ties by lower id.
        logits: f32 [R, vocab], or None.
        hidden: f32 [R, dim], the hidden states after the last norm, or None.
    """

    token_ids: I32
    logprobs: F32
    top_ids: I32
    top_logprobs: F32
    logits: F32 | None = None
    hidden: F32 | None = None


class Backend(Protocol):
    """Executes one program. Not thread-safe: one thread owns it."""

    @property
    def name(self) -> str:
        """Name and instruction set, such as "native/avx512"."""
        ...

    def allocate_kv(self, num_blocks: int) -> None:
        """Make the KV pool: `num_blocks` blocks of `program.kv.block_bytes`. Called once.

        Raises CapacityError where the memory cannot be had.
        """
        ...

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy whole KV blocks pairwise, before the next step (copy-on-write)."""
        ...

    def run(self, step: StepInput) -> StepOutput:
        """Execute the program once. Blocks until done; the GIL is not held meanwhile.

        The same `step` may come again with other values in its arrays: nothing is to be kept of
        it, but which arrays they are.
        """
        ...

    def close(self) -> None:
        """Release threads and memory. Idempotent."""
        ...
