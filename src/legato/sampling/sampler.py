"""The last op: from logits to tokens and their log-probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from legato.backends.base import F32, I32, SamplingInput
from legato.sampling import filters
from legato.sampling.noise import gumbel

NO_TOKEN = -1


class Sampled(NamedTuple):
    """Fields as in `StepOutput`."""

    token_ids: I32
    logprobs: F32
    top_ids: I32
    top_logprobs: F32


def sample(logits: F32, sampling: SamplingInput) -> Sampled:
    """Choose a token for each row of `logits` [R, vocab].

    A row whose logits hold a NaN or +inf, or whose every token is forbidden, gets token −1.
    """
    rows = len(logits)
    width = max(0, int(sampling.num_logprobs.max(initial=0)))
    result = Sampled(
        np.full(rows, NO_TOKEN, np.int32),
        np.full(rows, np.nan, np.float32),
        np.full((rows, width), NO_TOKEN, np.int32),
        np.full((rows, width), np.nan, np.float32),
    )
    for row in range(rows):
        result.token_ids[row] = choose(logits[row], sampling, row)
        if sampling.num_logprobs[row] >= 0:
            _fill_logprobs(result, logits[row], row, int(sampling.num_logprobs[row]))
    return result


def choose(logits: F32, sampling: SamplingInput, row: int) -> int:
    """The token of one row: argmax of filtered logits + noise, ties to the lowest id."""
    adjusted = adjust(logits, sampling, row)
    if not (_has_choice(logits) and _has_choice(adjusted)):
        return NO_TOKEN
    if sampling.temperature[row] == 0:
        return int(np.argmax(adjusted))
    kept = truncate(adjusted, sampling, row)
    noise = gumbel(
        int(sampling.seed[row]),
        int(sampling.sample_index[row]),
        int(sampling.position[row]),
        len(logits),
    )
    return int(np.argmax(kept + noise))


def adjust(logits: F32, sampling: SamplingInput, row: int) -> F32:
    """Bias, mask and penalties, in this order."""
    bias = slice(sampling.bias_starts[row], sampling.bias_starts[row + 1])
    seen = slice(sampling.seen_starts[row], sampling.seen_starts[row + 1])
    logits = filters.add_bias(logits, sampling.bias_ids[bias], sampling.bias_values[bias])
    if sampling.mask_index[row] >= 0:
        logits = filters.apply_mask(logits, sampling.masks[sampling.mask_index[row]])
    return filters.penalise(
        logits,
        sampling.seen_ids[seen],
        sampling.seen_counts[seen],
        repetition=sampling.repetition[row],
        frequency=sampling.frequency[row],
        presence=sampling.presence[row],
    )


def truncate(logits: F32, sampling: SamplingInput, row: int) -> F32:
    """Temperature, top-k, top-p and min-p, in this order; each sees what the one before left."""
    logits = filters.scale_temperature(logits, sampling.temperature[row])
    if 0 < sampling.top_k[row] < len(logits):
        logits = filters.keep_top_k(logits, int(sampling.top_k[row]))
    if sampling.top_p[row] < 1:
        logits = filters.keep_top_p(logits, float(sampling.top_p[row]))
    if sampling.min_p[row] > 0:
        logits = filters.keep_min_p(logits, float(sampling.min_p[row]))
    return logits


def _has_choice(logits: F32) -> bool:
    """Some token is allowed and nothing is NaN or +inf (max carries a NaN along)."""
    return bool(np.isfinite(logits.max()))


def _fill_logprobs(result: Sampled, logits: F32, row: int, alternatives: int) -> None:
    """Log-probabilities of the model's own distribution, from the unmodified logits."""
    if not _has_choice(logits):
        return
    logprobs = filters.log_softmax(logits)
    token = result.token_ids[row]
    if token != NO_TOKEN:
        result.logprobs[row] = logprobs[token]
    top = filters.descending(logits)[:alternatives]
    result.top_ids[row, : len(top)] = top
    result.top_logprobs[row, : len(top)] = logprobs[top]
