"""What must hold of a KV cache between any two operations (DESIGN.md, invariant 6)."""

from __future__ import annotations

from collections import Counter

from legato.kvcache.cache import KVCache
from legato.kvcache.prefix import ABSENT, PrefixNode


def check_integrity(cache: KVCache) -> None:
    """AssertionError, naming what is wrong, unless all accounts agree.

    free + used + cached = pool; the reference count of a block is the number of tables that
    refer to it; the prefix cache remembers exactly the blocks that the pool keeps; and its nodes
    are those that a block, a child or a table needs.
    """
    _check_blocks(cache)
    _check_tables(cache)
    _check_nodes(cache)


def _check_blocks(cache: KVCache) -> None:
    pool, owned = cache.pool, cache.prefix.owned_blocks()
    assert pool.num_free + pool.num_used + pool.num_cached == pool.num_blocks
    expected = [0] * pool.num_blocks
    for table in cache.open_tables.values():
        for block in table.live():
            expected[block] += 1
    found = list(map(pool.references, range(pool.num_blocks)))
    assert found == expected, _differences(found, expected)
    kept = {block for block in range(pool.num_blocks) if pool.is_kept(block)}
    assert kept == owned, ("kept by one only", kept ^ owned)
    cached = sum(not found[block] for block in owned)
    assert (pool.num_blocks - found.count(0), cached) == (pool.num_used, pool.num_cached)


def _differences(found: list[int], expected: list[int]) -> list[tuple[int, int, int]]:
    """(block, references counted by the pool, references in tables) where they differ."""
    pairs = enumerate(zip(found, expected, strict=True))
    return [(block, have, want) for block, (have, want) in pairs if have != want]


def _check_nodes(cache: KVCache) -> None:
    """A node is held by its children and by tables, and lives only while something needs it."""
    prefix = cache.prefix
    holders: Counter[PrefixNode] = Counter(node.parent for node in prefix.nodes() if node.parent)
    holders.update(t.node for t in cache.open_tables.values() if t.node is not None)
    for node in prefix.nodes():
        assert node.holders == holders[node], (node.depth, node.holders, holders[node])
        placed = any(block != ABSENT for block in node.blocks)
        assert placed or node.holders, (node.depth, "a node that nothing needs")
    assert holders.keys() <= set(prefix.nodes()), "a node in use cannot be found"


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
