"""Prompts whose keys and values are kept for samples that may still be drawn."""

from __future__ import annotations

from collections.abc import Collection

from legato.kvcache.cache import KVCache
from legato.kvcache.table import BlockTable
from legato.scheduler.sequence import Sequence


class KeptPrompts:
    """The full blocks of one prompt a request, under a table of their own.

    They cost no block while a sample runs, which shares them. Afterwards they are held until the
    request is decided or somebody else needs them: then the prompt is computed again.
    """

    def __init__(self, cache: KVCache, most: int) -> None:
        """Keeps the prompts of at most `most` requests."""
        self._cache = cache
        self._most = most
        self._tables: dict[str, BlockTable] = {}  # by request

    @property
    def tables(self) -> Collection[BlockTable]:
        """All that is kept."""
        return self._tables.values()

    def of(self, sequence: Sequence) -> BlockTable | None:
        """What is kept of the prompt of `sequence`."""
        return self._tables.get(sequence.request.id) if sequence.request.compute else None

    def keep(self, sequence: Sequence) -> None:
        """Keep the prompt of `sequence`, once it is computed and if there is a place for it."""
        cache, table = self._cache, sequence.table
        if sequence.request.id in self._tables or len(self._tables) >= self._most:
            return
        shared = (sequence.num_prompt - 1) // cache.block_size * cache.block_size
        is_computed = sequence.num_computed >= sequence.num_prompt
        if table and shared and is_computed and cache.can_fork(table, shared):
            self._tables[sequence.request.id], _ = cache.fork(table, shared)

    def release(self, request_id: str) -> None:
        """The request draws no more."""
        table = self._tables.pop(request_id, None)
        if table is not None:
            self._cache.close(table)

    def give_up(self) -> bool:
        """Release the youngest of those that alone hold blocks; False where that frees none."""
        references = self._cache.pool.references
        for request_id, table in reversed(self._tables.items()):
            if any(references(block) == 1 for block in table.live()):
                self.release(request_id)
                return True
        return False

    def forget(self) -> None:
        """The cache has taken all of it back (see `KVCache.recover`)."""
        self._tables.clear()
