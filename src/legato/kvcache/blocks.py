"""The pool of KV blocks. It knows ids and reference counts, not what a block holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from legato.errors import CapacityError


class BlockPool:
    """Blocks 0 … num_blocks − 1, each in exactly one of three states.

    free    nobody refers to it, its content is worthless
    used    at least one block table refers to it
    cached  no table refers to it, but the prefix cache keeps its content; the least recently
            released one is evicted when no block is free
    """

    def __init__(self, num_blocks: int, on_evict: Callable[[int], None]) -> None:
        """`on_evict(block)` is called before a cached block is given to somebody else."""
        self.num_blocks = num_blocks
        self._on_evict = on_evict
        self._references = [0] * num_blocks
        self._free = list(range(num_blocks - 1, -1, -1))
        self._kept = bytearray(num_blocks)
        self._cached: OrderedDict[int, None] = OrderedDict()

    @property
    def num_free(self) -> int:
        """Blocks in state free."""
        return len(self._free)

    @property
    def num_cached(self) -> int:
        """Blocks in state cached."""
        return len(self._cached)

    @property
    def num_used(self) -> int:
        """Blocks in state used."""
        return self.num_blocks - len(self._free) - len(self._cached)

    @property
    def available(self) -> int:
        """Blocks that `allocate` can give: free and cached ones."""
        return len(self._free) + len(self._cached)

    def references(self, block: int) -> int:
        """How many times `block` is retained."""
        return self._references[block]

    def is_kept(self, block: int) -> bool:
        """Whether the content of `block` outlives its last reference."""
        return bool(self._kept[block])

    def allocate(self, count: int) -> list[int]:
        """`count` blocks with one reference each, all or none (CapacityError)."""
        if count > self.available:
            raise CapacityError(
                f"{count} KV blocks were asked for, {self.available} of {self.num_blocks} are left"
            )
        while len(self._free) < count:
            self._evict()
        blocks = [self._free.pop() for _ in range(count)]
        for block in blocks:
            self._references[block] = 1
        return blocks

    def retain(self, block: int) -> None:
        """Add a reference to a used or cached block."""
        if self._references[block] == 0:
            del self._cached[block]  # KeyError: the block was free
        self._references[block] += 1

    def release(self, block: int) -> None:
        """Take a reference away. The last one leaves the block cached if kept, free otherwise."""
        if self._references[block] <= 0:
            raise ValueError(f"KV block {block} is released more often than it was retained")
        self._references[block] -= 1
        if self._references[block] > 0:
            return
        if self._kept[block]:
            self._cached[block] = None
        else:
            self._free.append(block)

    def keep(self, block: int) -> None:
        """Let the content of a used block outlive its references, until it is evicted."""
        if self._references[block] <= 0:
            raise ValueError(f"KV block {block} is not in use and cannot be kept")
        self._kept[block] = 1

    def recover(self, used: Iterable[int]) -> None:
        """Start again with one reference for every time a block is in `used`; none is kept."""
        self._references = [0] * self.num_blocks
        for block in used:
            self._references[block] += 1
        self._kept = bytearray(self.num_blocks)
        self._cached.clear()
        self._free = [b for b in reversed(range(self.num_blocks)) if not self._references[b]]

    def _evict(self) -> None:
        block, _ = self._cached.popitem(last=False)
        self._on_evict(block)
        self._kept[block] = 0
        self._free.append(block)
