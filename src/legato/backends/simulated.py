"""A backend without arithmetic: tokens are a function, and a step takes the time predicted for it.

Under it the engine becomes a simulator of itself: of load that is not there, and with another
machine's profile of hardware that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from legato.backends.base import F32, I32, U64, SamplingInput, StepInput, StepOutput
from legato.clock import VirtualClock
from legato.errors import BackendError
from legato.program.ops import StepShape

Price = Callable[[StepShape], int]
"""Nanoseconds that a step of some shape takes."""

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


class SimulatedBackend:
    """Chooses tokens by (seed, sample index, position) alone and moves `clock` by `price`.

    Forbidden tokens (a bias of -inf, a mask) are honoured; other biases, penalties and filters
    change nothing. The chosen token's log-probability is that of a uniform distribution.
    """

    name = "simulated"

    def __init__(self, vocab_size: int, price: Price, clock: VirtualClock) -> None:
        self._vocab_size = vocab_size
        self._price = price
        self._clock = clock

    def allocate_kv(self, num_blocks: int) -> None:
        """Nothing is stored."""

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Nothing is stored."""

    def run(self, step: StepInput) -> StepOutput:
        """Advance the clock and choose. Raises BackendError where a step wants more."""
        if step.want_logits or step.want_hidden:
            wanted = "logits" if step.want_logits else "hidden states"
            raise BackendError(f"the simulated backend computes no {wanted}; use another backend")
        self._clock.advance(self._price(shape_of(step)))
        if step.sampling is None:
            return _output(np.empty(0, np.int32), np.empty(0, np.int32), self._vocab_size)
        tokens = simulated_tokens(step.sampling, self._vocab_size)
        return _output(tokens, step.sampling.num_logprobs, self._vocab_size)

    def close(self) -> None:
        """Nothing to release."""


def shape_of(step: StepInput) -> StepShape:
    """What the cost of `step` depends on."""
    starts = step.query_starts.tolist()
    ends = zip(starts, starts[1:], step.kv_lengths.tolist(), strict=False)
    pairs = [(end - start, length - end + start) for start, end, length in ends]
    return StepShape(tuple(pairs), len(step.output_rows))


def simulated_tokens(sampling: SamplingInput, vocab_size: int) -> I32:
    """Token ids i32 [R]: a well-spread function of (seed, sample index, position) of each row.

    It is SplitMix64 (Steele et al. 2014, section 4) at the place (sample index, position) of the
    stream of the seed. A forbidden token gives way to the next allowed one; −1 where none is
    allowed.
    """
    place = sampling.sample_index.astype(np.uint64) << np.uint64(32) | sampling.position.view("u4")
    tokens = (_mix(sampling.seed + place * _GAMMA) % np.uint64(vocab_size)).astype(np.int32)
    if len(sampling.bias_ids) or len(sampling.masks):
        for row in range(len(tokens)):
            tokens[row] = _allowed(sampling, row, int(tokens[row]), vocab_size)
    return tokens


def _mix(values: U64) -> U64:
    """The finaliser of SplitMix64."""
    values = (values ^ (values >> _SHIFTS[0])) * _MIX[0]
    values = (values ^ (values >> _SHIFTS[1])) * _MIX[1]
    return values ^ (values >> _SHIFTS[2])


def _allowed(sampling: SamplingInput, row: int, token: int, vocab_size: int) -> int:
    """`token`, or the first allowed one after it, in a circle."""
    span = slice(sampling.bias_starts[row], sampling.bias_starts[row + 1])
    allowed = np.ones(vocab_size, bool)
    allowed[sampling.bias_ids[span][np.isneginf(sampling.bias_values[span])]] = False
    if (mask := sampling.mask_index[row]) >= 0:
        bits = np.unpackbits(sampling.masks[mask].view(np.uint8), bitorder="little")
        allowed &= bits[:vocab_size].astype(bool)
    choices = np.flatnonzero(np.roll(allowed, -token))
    return (token + int(choices[0])) % vocab_size if len(choices) else -1


def _output(tokens: I32, num_logprobs: I32, vocab_size: int) -> StepOutput:
    """`tokens` with what else was asked for: the K alternatives are the ids from the token on."""
    if not (num_logprobs >= 0).any():
        return _plain_output(tokens)
    width = max(0, int(num_logprobs.max(initial=0)))
    uniform = np.float32(-np.log(vocab_size))
    logprobs: F32 = np.where(num_logprobs >= 0, uniform, np.float32(np.nan))
    following = tokens[:, None] + np.arange(width, dtype=np.int32)
    top_ids = (following % vocab_size).astype(np.int32)
    return StepOutput(
        token_ids=tokens,
        logprobs=logprobs,
        top_ids=top_ids,
        top_logprobs=np.full(top_ids.shape, uniform, np.float32),
    )


def _plain_output(tokens: I32) -> StepOutput:
    """`tokens` where nobody asked for log-probabilities."""
    rows = len(tokens)
    return StepOutput(
        token_ids=tokens,
        logprobs=np.full(rows, np.nan, np.float32),
        top_ids=np.empty((rows, 0), np.int32),
        top_logprobs=np.empty((rows, 0), np.float32),
    )
