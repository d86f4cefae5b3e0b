"""Logits and hidden states of a given text, in chunks between which the engine may take steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from legato.backends.base import F32, I32
from legato.errors import LegatoError
from legato.kvcache.cache import KVCache
from legato.kvcache.table import BlockTable

RowsOf = Callable[[BlockTable, I32, int], F32]
"""(table, tokens up to a chunk's end, the chunk's start) → f32 [rows of the chunk, …]."""

MAX_LOGITS_BYTES = 1 << 26
"""Most bytes of logits that are taken from the backend in one step."""

ROWS_BESIDE = 64
"""Rows of a chunk while requests run, which wait for it."""


def score(
    tokens: I32,
    cache: KVCache,
    rows_of: RowsOf,
    most_rows: Callable[[], int],
) -> Iterator[F32]:
    """What `rows_of` gives for each of `tokens` i32 [n], f32 [rows, …] a chunk.

    Args:
        rows_of: gives the rows of a chunk.
        most_rows: rows of the next chunk at most; asked before each.

    Holds blocks until it is closed, and at most one may be open at a time. CapacityError where
    live requests leave too few blocks, LegatoError where a fault has taken them away.
    """
    table = cache.open(None)
    end = 0
    try:
        while end < len(tokens):
            start, end = end, min(end + most_rows(), len(tokens))
            _check_open(cache, table)
            cache.extend(table, end)
            rows = rows_of(table, tokens[:end], start)
            cache.advance(table, tokens, end)
            yield rows
    finally:
        if _is_open(cache, table):
            cache.close(table)


def _is_open(cache: KVCache, table: BlockTable) -> bool:
    """False after `KVCache.recover`, which gives the blocks of all but live requests back."""
    return cache.open_tables.get(table.slot) is table


def _check_open(cache: KVCache, table: BlockTable) -> None:
    if not _is_open(cache, table):
        raise LegatoError("a step of the engine failed, and with it what was computed beside it")
