"""Which KV blocks hold which prefix: a tree of full blocks, found through a keyed chain hash.

A node stands for `block_size` tokens after everything its ancestors stand for. Its digest is a
hash of (parent's digest, tokens); a hit also compares the tokens and the parent itself, so that
a collision is a miss and never somebody else's keys and values. Prefixes of different salts have
different roots and never meet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
ABSENT = -1
_DIGEST_BYTES = 16

ChainHash = Callable[[bytes, bytes], bytes]


def keyed_chain_hash() -> ChainHash:
    """BLAKE2b of (parent digest, tokens) under a key drawn now, so that no client can aim at
    collisions or learn from digests."""
    key = os.urandom(32)

    def chain_hash(parent: bytes, tokens: bytes) -> bytes:
        return blake2b(parent + tokens, digest_size=_DIGEST_BYTES, key=key).digest()

    return chain_hash


@dataclass(slots=True, eq=False)
class PrefixNode:
    """One full block of tokens in its context.

    Attributes:
        depth: blocks from the root to this one, itself included; 0 for a root.
        tokens: the block's token ids as i32 bytes; a root has its salt here.
        blocks: KV block per group, ABSENT where there is none (any more).
        holders: children, and tables whose newest full block this is. A held node stays
            findable even when all of its blocks were evicted.
    """

    digest: bytes
    parent: PrefixNode | None
    depth: int
    tokens: bytes
    blocks: list[int]
    holders: int = 0


class PrefixCache:
    """Finds and remembers nodes. Reference counts of the blocks are the pool's matter."""

    def __init__(self, num_groups: int, block_size: int, chain_hash: ChainHash) -> None:
        self._num_groups = num_groups
        self._block_size = block_size
        self._hash = chain_hash
        self._nodes: dict[bytes, PrefixNode] = {}
        self._roots: dict[str, PrefixNode] = {}
        self._owners: dict[int, tuple[PrefixNode, int]] = {}

    def root(self, salt: str) -> PrefixNode:
        """The node before the first block of prefixes with this salt."""
        root = self._roots.get(salt)
        if root is None:
            tokens = salt.encode()
            root = self._new_node(self._hash(b"", tokens), None, tokens)
            self._roots[salt] = root
        return root

    def match(self, salt: str, tokens: I32, digests: list[bytes]) -> list[PrefixNode]:
        """The known nodes of the full blocks of `tokens`, from the first on.

        `digests` caches the chain hash of these tokens between calls; it is extended here.
        """
        root = node = self._roots.get(salt)
        nodes: list[PrefixNode] = []
        for index in range(len(tokens) // self._block_size if root else 0):
            assert node is not None
            block = self._block_bytes(tokens, index)
            if index == len(digests):
                digests.append(self._hash(node.digest, block))
            child = self._child(node, digests[index], block)
            if child is None:
                break
            nodes.append(child)
            node = child
        return nodes

    def insert(self, parent: PrefixNode, tokens: I32, index: int) -> PrefixNode | None:
        """The node of block `index` of `tokens` after `parent`, made if need be.

        None where a collision of digests bars its place.
        """
        block = self._block_bytes(tokens, index)
        digest = self._hash(parent.digest, block)
        if digest in self._nodes:
            return self._child(parent, digest, block)
        node = self._nodes[digest] = self._new_node(digest, parent, block)
        parent.holders += 1
        return node

    def place(self, node: PrefixNode, group: int, block: int) -> bool:
        """Remember `block` as the node's in `group`; False where it has one already."""
        if node.blocks[group] != ABSENT:
            return False
        node.blocks[group] = block
        self._owners[block] = (node, group)
        return True

    def forget(self, block: int) -> None:
        """The content of `block` is about to be lost."""
        node, group = self._owners.pop(block)
        node.blocks[group] = ABSENT
        self._collect(node)

    def hold(self, node: PrefixNode) -> None:
        """Keep `node` findable until it is dropped as often as it was held."""
        node.holders += 1

    def drop(self, node: PrefixNode) -> None:
        """Undo one `hold`."""
        node.holders -= 1
        self._collect(node)

    def clear(self) -> None:
        """Forget everything."""
        self._nodes.clear()
        self._roots.clear()
        self._owners.clear()

    def owned_blocks(self) -> set[int]:
        """Every block that some node remembers."""
        return set(self._owners)

    def nodes(self) -> Iterator[PrefixNode]:
        """All nodes, roots first."""
        return chain(self._roots.values(), self._nodes.values())

    def _block_bytes(self, tokens: I32, index: int) -> bytes:
        return tokens[index * self._block_size : (index + 1) * self._block_size].tobytes()

    def _child(self, parent: PrefixNode, digest: bytes, tokens: bytes) -> PrefixNode | None:
        node = self._nodes.get(digest)
        if node is None or node.parent is not parent or node.tokens != tokens:
            return None
        return node

    def _new_node(self, digest: bytes, parent: PrefixNode | None, tokens: bytes) -> PrefixNode:
        depth = 0 if parent is None else parent.depth + 1
        return PrefixNode(digest, parent, depth, tokens, [ABSENT] * self._num_groups)

    def _collect(self, node: PrefixNode) -> None:
        """Forget `node`, and then its ancestors, as long as nothing needs them."""
        while node.holders == 0 and all(block == ABSENT for block in node.blocks):
            if node.parent is None:
                del self._roots[node.tokens.decode()]
                return
            del self._nodes[node.digest]
            node = node.parent
            node.holders -= 1


def first_needed_block(window: int | None, num_computed: int, block_size: int) -> int:
    """Index of the oldest block that the token at position `num_computed` attends to."""
    if window is None:
        return 0
    return max(0, num_computed - window + 1) // block_size


def usable_blocks(nodes: list[PrefixNode], windows: tuple[int | None, ...], block_size: int) -> int:
    """The most leading blocks n that may be reused.

    A group without window needs its blocks of all n nodes; one with a window needs those that
    the token after them attends to.
    """
    usable = 0
    runs = [0] * len(windows)  # how many nodes up to here have a block, without a gap, per group
    for count, node in enumerate(nodes, start=1):
        runs = [0 if b == ABSENT else run + 1 for run, b in zip(runs, node.blocks, strict=True)]
        needs = (count - first_needed_block(w, count * block_size, block_size) for w in windows)
        if all(run >= need for run, need in zip(runs, needs, strict=True)):
            usable = count
    return usable
