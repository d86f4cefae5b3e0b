"""Pure functions on the logits of one row [vocab] f32; −inf marks a token that is out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
Order = npt.NDArray[np.intp]

_OUT = np.float32(-np.inf)


def add_bias(logits: F32, ids: I32, values: F32) -> F32:
    """Logits plus `values` at `ids`; −inf forbids a token."""
    biased = logits.copy()
    np.add.at(biased, ids, values)
    return biased


def apply_mask(logits: F32, words: U32) -> F32:
    """Forbid token t unless bit t % 32 of word t // 32 is set."""
    tokens = np.arange(len(logits))
    allowed = words[tokens // 32] >> (tokens % 32).astype(np.uint32) & np.uint32(1)
    return np.where(allowed, logits, _OUT)


def penalise(
    logits: F32,
    seen_ids: I32,
    output_counts: I32,
    *,
    repetition: np.float32,
    frequency: np.float32,
    presence: np.float32,
) -> F32:
    """Penalties on tokens already seen.

    Repetition (Keskar et al. 2019, section 4.1) holds for every seen token: l / r above zero,
    l · r below. Frequency and presence count occurrences in the output alone.
    """
    penalised = logits.copy()
    seen = logits[seen_ids]
    seen = np.where(seen > 0, seen / repetition, seen * repetition)
    counts = output_counts.astype(np.float32)
    penalised[seen_ids] = seen - frequency * counts - presence * (output_counts > 0)
    return penalised


def scale_temperature(logits: F32, temperature: np.float32) -> F32:
    """(l − max l) / temperature. The shift changes no choice and keeps tiny temperatures finite."""
    with np.errstate(over="ignore"):
        scaled: F32 = (logits - logits.max()) / temperature
    return scaled


def keep_top_k(logits: F32, k: int) -> F32:
    """Keep the k largest; among equals at the k-th place lower ids win."""
    return _keep(logits, descending(logits)[:k])


def keep_top_p(logits: F32, p: float) -> F32:
    """Nucleus (Holtzman et al. 2020): the fewest most likely tokens with probability ≥ p together.

    Among equals lower ids come first; at least one token stays.
    """
    order = descending(logits)
    cumulative = np.cumsum(np.exp(log_softmax(logits)[order]))
    count = int(np.searchsorted(cumulative, p)) + 1
    return _keep(logits, order[:count])


def keep_min_p(logits: F32, min_p: float) -> F32:
    """Drop tokens whose probability is below min_p times the largest."""
    relative = np.exp((logits - logits.max()).astype(np.float64))
    return np.where(relative < min_p, _OUT, logits)


def descending(logits: F32) -> Order:
    """Token ids from the largest logit to the smallest, lower ids first among equals."""
    return np.argsort(-logits, kind="stable")


def log_softmax(logits: F32) -> F64:
    """Log-probabilities [vocab] f64."""
    shifted = logits.astype(np.float64) - logits.max()
    result: F64 = shifted - np.log(np.exp(shifted).sum())
    return result


def _keep(logits: F32, ids: Order) -> F32:
    kept = np.full_like(logits, _OUT)
    kept[ids] = logits[ids]
    return kept
