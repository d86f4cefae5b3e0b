"""One row for every position of a text, beside whatever the engine is doing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from legato.backends.base import F32, I32
from legato.kvcache.cache import KVCache
from legato.kvcache.table import BlockTable

MAX_LOGITS_BYTES = 1 << 26
"""Most bytes of logits that are taken from the backend in one step."""

RowsOf = Callable[[BlockTable, I32, int], F32]
"""Rows f32 [n − start, ·] of `tokens` [n] from `start` on, given the table of all of them."""


def score(tokens: I32, rows_of: RowsOf, cache: KVCache, max_rows: int) -> F32:
    """`rows_of` chunks of at most `max_rows` of `tokens` i32 [n], joined: f32 [n, ·].

    The blocks that it takes are held for the time of the call; CapacityError if too few are left.
    """
    chunks: list[F32] = []
    table = cache.open(None)
    try:
        for start in range(0, len(tokens), max_rows):
            end = min(start + max_rows, len(tokens))
            cache.extend(table, end)
            chunks.append(rows_of(table, tokens[:end], start))
            cache.advance(table, tokens, end)
    finally:
        cache.close(table)
    return np.concatenate(chunks)
