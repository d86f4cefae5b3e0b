"""What a given text is to the model, from chunks of rows: one vector, or log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from legato.core import TokenLogprobs

T = TypeVar("T")
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Pooling = Literal["mean", "last"]


@dataclass(frozen=True, slots=True)
class Scored(Generic[T]):
    """A result, and the machine time that it took."""

    value: T
    machine_ns: int


def pooled(chunks: Iterator[F32], pooling: Pooling) -> Iterator[F32]:
    """One vector f32 [dim] of length 1 from hidden states f32 [rows, dim] in chunks.

    The mean over all tokens, or the last token's state; gives None until the last chunk. Rows are
    added one after the other, so that the result does not depend on where chunks are cut.
    """
    total: F64 | None = None
    for chunk in chunks:
        rows = chunk.astype(np.float64)
        if pooling == "last" or total is None:
            total = rows[-1] if pooling == "last" else rows.sum(axis=0)
        else:
            total = np.vstack([total, rows]).sum(axis=0)
        yield _normalised(total)


def _normalised(vector: F64) -> F32:
    length = float(np.linalg.norm(vector))
    return (vector / length if length else vector).astype(np.float32)


def token_logprobs(
    chunks: Iterator[F32], token_ids: Sequence[int], count: int
) -> Iterator[list[TokenLogprobs]]:
    """Log-probabilities of all tokens but the first, each given those before it.

    Args:
        chunks: logits f32 [rows, vocab], row i those after token i.
        count: how many of the likeliest tokens at each position.
    """
    place = 0
    for chunk in chunks:
        following = token_ids[place + 1 : place + 1 + len(chunk)]
        yield [_logprobs(row, token, count) for row, token in zip(chunk, following, strict=False)]
        place += len(chunk)


def _logprobs(logits: F32, chosen: int, count: int) -> TokenLogprobs:
    values = logits.astype(np.float64)
    values -= values.max()
    values -= np.log(np.exp(values).sum())
    likeliest = np.argpartition(values, -count)[-count:] if count else np.empty(0, np.int64)
    ordered = sorted(likeliest.tolist(), key=lambda token: (-values[token], token))
    top = tuple((token, float(values[token])) for token in ordered)
    return TokenLogprobs(float(values[chosen]), top)
