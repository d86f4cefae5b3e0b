"""The KV cache of an engine: tables over one pool of blocks, with shared prefixes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from legato.kvcache.blocks import BlockPool
from legato.kvcache.prefix import (
    ABSENT,
    ChainHash,
    PrefixCache,
    PrefixNode,
    first_needed_block,
    keyed_chain_hash,
    usable_blocks,
)
from legato.kvcache.table import I32, BlockTable, TableStore
from legato.program.program import KVLayout


@dataclass(frozen=True, slots=True)
class PrefixHit:
    """Leading full blocks that are in the cache already. Valid until the pool is used again.

    Attributes:
        nodes: one per reusable block.
        blocks: ids of the blocks that a table would refer to, in order of use, per group.
        num_idle: how many of them nobody uses now, so that reuse makes them unavailable.
    """

    nodes: tuple[PrefixNode, ...]
    blocks: tuple[tuple[int, ...], ...]
    num_idle: int

    @property
    def num_blocks(self) -> int:
        """References that a table would take."""
        return sum(len(group) for group in self.blocks)


NO_HIT = PrefixHit((), (), 0)


class KVCache:
    """Opens, extends, advances, forks and closes the block tables of sequences."""

    def __init__(
        self,
        layout: KVLayout,
        num_blocks: int,
        *,
        num_slots: int,
        max_tokens: int,
        prefix_cache: bool,
        chain_hash: ChainHash | None = None,
    ) -> None:
        """A pool of `num_blocks` for at most `num_slots` tables of at most `max_tokens` each."""
        self.block_size = layout.block_size
        self.windows = tuple(group.window for group in layout.groups)
        self.num_groups = len(self.windows)
        self.prefix = PrefixCache(
            self.num_groups, self.block_size, chain_hash or keyed_chain_hash()
        )
        self.pool = BlockPool(num_blocks, on_evict=self.prefix.forget)
        self.tables = TableStore(self.num_groups, num_slots, -(-max_tokens // self.block_size))
        self.open_tables: dict[int, BlockTable] = {}
        self._reuse = prefix_cache

    def lookup(self, tokens: I32, salt: str, digests: list[bytes]) -> PrefixHit:
        """What the cache holds of `tokens` [n] i32, at most n − 1 of them.

        One token is always left to compute, because its logits are wanted. `digests` keeps the
        hashes of these tokens between calls.
        """
        if not self._reuse:
            return NO_HIT
        nodes = self.prefix.match(salt, tokens[: len(tokens) - 1], digests)
        count = usable_blocks(nodes, self.windows, self.block_size)
        if not count:
            return NO_HIT
        starts = self._starts(count * self.block_size)
        blocks = tuple(
            tuple(node.blocks[group] for node in nodes[start:count])
            for group, start in enumerate(starts)
        )
        idle = sum(self.pool.references(block) == 0 for group in blocks for block in group)
        return PrefixHit(tuple(nodes[:count]), blocks, idle)

    def open(self, salt: str | None, hit: PrefixHit = NO_HIT) -> BlockTable:
        """A table that begins with the blocks of `hit`; without a salt it shares nothing."""
        table = self._new_table()
        count = len(hit.nodes)
        table.num_blocks = table.num_full = count
        for group, blocks in enumerate(hit.blocks):
            table.starts[group] = count - len(blocks)
            table.entries[group, table.starts[group] : count] = blocks
            for block in blocks:
                self.pool.retain(block)
        if self._reuse and salt is not None:
            self._chain(table, hit.nodes[-1] if hit.nodes else self.prefix.root(salt))
        return table

    def room(self, table: BlockTable) -> int:
        """The most tokens that `table` could hold with the blocks that are available now."""
        blocks = table.num_blocks + self.pool.available // self.num_groups
        return min(blocks, self.tables.max_blocks) * self.block_size

    def extend(self, table: BlockTable, num_tokens: int) -> None:
        """Give `table` blocks for `num_tokens` in all; CapacityError (and no change) if short."""
        end = -(-num_tokens // self.block_size)
        count = end - table.num_blocks
        if count <= 0:
            return
        blocks = np.array(self.pool.allocate(count * self.num_groups), np.int32)
        table.entries[:, table.num_blocks : end] = blocks.reshape(self.num_groups, count)
        table.num_blocks = end

    def advance(self, table: BlockTable, tokens: I32, num_computed: int) -> None:
        """The first `num_computed` of the sequence's `tokens` have keys and values now.

        Full blocks become reusable; blocks that a sliding window has passed are released.
        """
        full = num_computed // self.block_size
        if full == table.num_full:
            return
        if table.node is not None:
            self._chain(table, self._remember(table, table.node, tokens, full))
        table.num_full = full
        for group, start in enumerate(self._starts(num_computed)):
            self._release_before(table, group, start)

    def can_fork(self, source: BlockTable, num_tokens: int) -> bool:
        """Whether `source` still has all that a fork at `num_tokens` attends to."""
        return all(
            start <= needed
            for start, needed in zip(source.starts, self._starts(num_tokens), strict=True)
        )

    def fork_cost(self, num_tokens: int) -> int:
        """Blocks that a fork at `num_tokens` allocates."""
        return self.num_groups if num_tokens % self.block_size else 0

    def fork(self, source: BlockTable, num_tokens: int) -> tuple[BlockTable, list[tuple[int, int]]]:
        """A table with the first `num_tokens` tokens of `source`, and the copies it needs.

        Full blocks are shared. The block that both would write is copied: the (from, to) pairs
        must be carried out before the next step. CapacityError, and no change, if short.
        """
        shared, rest = divmod(num_tokens, self.block_size)
        targets = self.pool.allocate(self.fork_cost(num_tokens))
        table = self._new_table()
        table.starts = self._starts(num_tokens)
        table.num_full = table.num_blocks = shared
        for group, start in enumerate(table.starts):
            blocks = source.entries[group, start:shared]
            table.entries[group, start:shared] = blocks
            for block in blocks.tolist():
                self.pool.retain(block)
        self._chain(table, _ancestor(source.node, shared))
        if not rest:
            return table, []
        table.entries[:, shared] = targets
        table.num_blocks += 1
        return table, list(zip(source.entries[:, shared].tolist(), targets, strict=True))

    def close(self, table: BlockTable) -> None:
        """Release everything; the last blocks first, so that they are evicted first."""
        for block in table.live():
            self.pool.release(block)
        self._chain(table, None)
        self.tables.close(table)
        del self.open_tables[table.slot]

    def recover(self, tables: Iterable[BlockTable]) -> None:
        """Make all accounts agree with `tables`, the ones in use, after an operation that failed
        half-way. What was kept for reuse is forgotten."""
        self.open_tables = {table.slot: table for table in tables}
        for table in self.open_tables.values():
            table.node = None
        self.prefix.clear()
        self.tables.recover(self.open_tables.keys())
        self.pool.recover(b for table in self.open_tables.values() for b in table.live())

    def blocks_for(self, num_tokens: int, chunk: int) -> int:
        """The most blocks that a sequence of `num_tokens` holds at once, computed in steps of
        at most `chunk` tokens."""
        full = -(-num_tokens // self.block_size)
        return sum(_window_blocks(w, full, chunk, self.block_size) for w in self.windows)

    def longest_sequence(self) -> int:
        """The most tokens that one sequence alone can have in this pool."""
        low, high = 0, self.tables.max_blocks
        while low < high:
            middle = (low + high + 1) // 2
            if self.blocks_for(middle * self.block_size, 1) <= self.pool.num_blocks:
                low = middle
            else:
                high = middle - 1
        return low * self.block_size

    def _new_table(self) -> BlockTable:
        table = self.tables.open()
        self.open_tables[table.slot] = table
        return table

    def _starts(self, num_computed: int) -> list[int]:
        return [first_needed_block(w, num_computed, self.block_size) for w in self.windows]

    def _remember(
        self, table: BlockTable, node: PrefixNode, tokens: I32, full: int
    ) -> PrefixNode | None:
        """Put the blocks that became full into the prefix tree; None after a collision."""
        for index in range(table.num_full, full):
            child = self.prefix.insert(node, tokens, index)
            if child is None:
                return None
            for group, block in enumerate(table.entries[:, index].tolist()):
                if block != ABSENT and self.prefix.place(child, group, block):
                    self.pool.keep(block)
            node = child
        return node

    def _chain(self, table: BlockTable, node: PrefixNode | None) -> None:
        """Move the table's place in the prefix tree to `node`."""
        if node is not None:
            self.prefix.hold(node)
        if table.node is not None:
            self.prefix.drop(table.node)
        table.node = node

    def _release_before(self, table: BlockTable, group: int, start: int) -> None:
        passed = table.entries[group, table.starts[group] : start]
        for block in passed.tolist():
            self.pool.release(block)
        passed.fill(ABSENT)
        table.starts[group] = max(start, table.starts[group])


def _ancestor(node: PrefixNode | None, depth: int) -> PrefixNode | None:
    """The node at `depth` on the way to `node`, or None where the way ends before it."""
    while node is not None and node.depth > depth:
        node = node.parent
    return node if node is not None and node.depth == depth else None


def _window_blocks(window: int | None, full: int, chunk: int, block_size: int) -> int:
    """Blocks of one group at its peak: all of `full`, or those that a window and a chunk span."""
    if window is None:
        return full
    return min(full, -(-(window + chunk - 2) // block_size) + 1)
