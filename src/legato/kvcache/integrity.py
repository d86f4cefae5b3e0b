"""What must hold of a KV cache between any two operations (DESIGN.md, invariant 6)."""

from __future__ import annotations

from collections import Counter

from legato.kvcache.cache import KVCache


def check_integrity(cache: KVCache) -> None:
    """AssertionError, naming the block, unless all accounts of the blocks agree.

    free + used + cached = pool; the reference count of a block is the number of tables that
    refer to it; the prefix cache remembers exactly the blocks that the pool keeps.
    """
    pool = cache.pool
    assert pool.num_free + pool.num_used + pool.num_cached == pool.num_blocks
    references = Counter(block for table in cache.open_tables.values() for block in table.live())
    owned = cache.prefix.owned_blocks()
    used = cached = 0
    for block in range(pool.num_blocks):
        count = pool.references(block)
        assert count == references[block], (block, count, references[block])
        assert pool.is_kept(block) == (block in owned), (block, "kept", block in owned)
        used += count > 0
        cached += count == 0 and block in owned
    assert (used, cached) == (pool.num_used, pool.num_cached)
    _check_tables(cache)


def _check_tables(cache: KVCache) -> None:
    """Entries are block ids inside the live range of a table and absent outside."""
    tables = cache.tables
    assert tables.num_free_slots + len(cache.open_tables) == tables.num_slots
    for table in cache.open_tables.values():
        for group, start in enumerate(table.starts):
            row = table.entries[group]
            live = row[start : table.num_blocks]
            assert (live >= 0).all(), (table.slot, group, "absent inside the live range")
            outside = len(row) - len(live)
            assert (row < 0).sum() == outside, (table.slot, group, "present outside of it")
