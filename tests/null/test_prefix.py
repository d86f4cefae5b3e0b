from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from legato.kvcache.prefix import (
    PrefixCache,
    first_needed_block,
    keyed_chain_hash,
    usable_blocks,
)

SIZE = 4


def tokens(*blocks: str) -> np.ndarray:
    """One block of four tokens for each text of four letters."""
    return np.array([ord(letter) for letter in "".join(blocks)], np.int32)


def new_cache(num_groups: int = 1, chain_hash=None) -> PrefixCache:
    return PrefixCache(num_groups, SIZE, chain_hash or keyed_chain_hash())


def insert(cache: PrefixCache, ids: np.ndarray, first_block: int, salt: str = "") -> list:
    """Nodes of all full blocks of `ids`, in KV blocks from `first_block` on."""
    node, nodes = cache.root(salt), []
    for index in range(len(ids) // SIZE):
        node = cache.insert(node, ids, index)
        if node is None:
            break
        cache.place(node, 0, first_block + index)
        nodes.append(node)
    return nodes


def found(cache: PrefixCache, ids: np.ndarray, salt: str = "") -> list[int]:
    return [node.blocks[0] for node in cache.match(salt, ids, [])]


def test_the_longest_known_prefix_is_found():
    cache = new_cache()
    insert(cache, tokens("abcd", "efgh", "ijkl"), 10)
    assert found(cache, tokens("abcd", "efgh", "xxxx")) == [10, 11]
    assert found(cache, tokens("abcd", "efgh", "ijkl") + 0) == [10, 11, 12]
    assert found(cache, tokens("efgh")) == []


def test_only_full_blocks_count():
    cache = new_cache()
    insert(cache, tokens("abcd", "efgh"), 10)
    assert found(cache, tokens("abcd", "efgh")[:7]) == [10]


def test_salts_never_meet():
    cache = new_cache()
    insert(cache, tokens("abcd"), 1, salt="a")
    insert(cache, tokens("abcd"), 2, salt="b")
    assert found(cache, tokens("abcd"), "a") == [1]
    assert found(cache, tokens("abcd"), "b") == [2]
    assert found(cache, tokens("abcd"), "c") == []


def test_a_forgotten_block_is_not_found():
    cache = new_cache()
    insert(cache, tokens("abcd", "efgh"), 10)
    cache.forget(11)
    assert found(cache, tokens("abcd", "efgh")) == [10]
    cache.forget(10)
    assert list(cache.nodes()) == []


def test_children_stay_findable_when_the_parents_block_is_lost():
    cache = new_cache()
    insert(cache, tokens("abcd", "efgh"), 10)
    cache.forget(10)
    assert found(cache, tokens("abcd", "efgh")) == [-1, 11]
    insert(cache, tokens("abcd"), 20)
    assert found(cache, tokens("abcd", "efgh")) == [20, 11]
    cache.forget(20)
    cache.forget(11)
    assert list(cache.nodes()) == []


def test_a_held_node_stays_until_it_is_dropped():
    cache = new_cache()
    (node,) = insert(cache, tokens("abcd"), 10)
    cache.hold(node)
    cache.forget(10)
    assert node in cache.nodes()
    cache.drop(node)
    assert list(cache.nodes()) == []


def test_the_first_block_of_a_node_stays():
    cache = new_cache()
    (node,) = insert(cache, tokens("abcd"), 10)
    assert not cache.place(node, 0, 11)
    assert node.blocks == [10]


@pytest.mark.parametrize("salts", [("", ""), ("a", "b")])
def test_colliding_hashes_are_a_miss_and_never_somebody_elses_blocks(salts):
    cache = new_cache(chain_hash=lambda parent, block: b"same")
    insert(cache, tokens("abcd"), 10, salts[0])
    assert insert(cache, tokens("efgh"), 20, salts[1]) == []
    assert found(cache, tokens("efgh"), salts[1]) == []
    assert found(cache, tokens("abcd", "abcd"), salts[0]) == [10]
    if salts[0] != salts[1]:
        assert found(cache, tokens("abcd"), salts[1]) == []


def test_equal_tokens_after_different_parents_do_not_match_under_collisions():
    weak = new_cache(chain_hash=lambda parent, block: block[:1])
    insert(weak, tokens("abcd", "efgh"), 10)
    assert found(weak, tokens("efgh")) == []


def test_hashes_of_two_caches_have_nothing_in_common():
    assert keyed_chain_hash()(b"", b"x") != keyed_chain_hash()(b"", b"x")


def test_digests_are_computed_once():
    calls = []

    def counting(parent: bytes, block: bytes) -> bytes:
        calls.append(block)
        return parent[-8:] + block

    cache = new_cache(chain_hash=counting)
    ids = tokens("abcd", "efgh")
    insert(cache, ids, 10)
    digests: list[bytes] = []
    cache.match("", ids, digests)
    calls.clear()
    assert len(cache.match("", ids, digests)) == 2
    assert calls == []


@pytest.mark.parametrize(
    ("window", "computed", "expected"),
    [(None, 100, 0), (4, 4, 0), (4, 8, 1), (4, 7, 1), (4, 6, 0), (1, 8, 2), (5, 8, 1), (6, 8, 0)],
)
def test_the_oldest_block_that_a_window_reaches(window, computed, expected):
    assert first_needed_block(window, computed, SIZE) == expected


def test_a_window_needs_only_its_last_blocks_and_a_full_group_needs_all():
    cache = new_cache(num_groups=2)
    ids = tokens("abcd", "efgh", "ijkl", "mnop")
    node, nodes = cache.root(""), []
    for index in range(4):
        node = cache.insert(node, ids, index)
        cache.place(node, 0, index)
        cache.place(node, 1, 10 + index)
        nodes.append(node)
    windows = (None, 6)
    assert usable_blocks(nodes, windows, SIZE) == 4
    cache.forget(10)
    assert usable_blocks(nodes, windows, SIZE) == 4
    cache.forget(12)
    assert usable_blocks(nodes, windows, SIZE) == 0
    cache.place(nodes[0], 1, 10)
    assert usable_blocks(nodes, windows, SIZE) == 2
    cache.forget(1)
    assert usable_blocks(nodes, windows, SIZE) == 1


class PrefixMachine(RuleBasedStateMachine):
    """Against a model that is a dictionary: (salt, leading blocks) → KV block, under a hash with
    which unequal blocks often collide, so that an insertion may be barred."""

    paths = st.lists(st.sampled_from(["aaaa", "bbbb", "cccc"]), min_size=1, max_size=4)
    salts = st.sampled_from(["", "x"])

    def __init__(self) -> None:
        super().__init__()
        self.cache = new_cache(chain_hash=lambda parent, block: bytes([sum(parent + block) % 7]))
        self.known: dict[tuple[str, tuple[str, ...]], int] = {}
        self.held: list = []
        self.next_block = 0

    @rule(salt=salts, path=paths)
    def insert(self, salt, path):
        root = node = self.cache.root(salt)
        self.cache.hold(root)
        ids = tokens(*path)
        for index in range(len(path)):
            node = self.cache.insert(node, ids, index)
            if node is None:
                break
            if self.cache.place(node, 0, self.next_block):
                self.known[salt, tuple(path[: index + 1])] = self.next_block
                self.next_block += 1
        self.cache.drop(root)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def forget(self, data):
        key = data.draw(st.sampled_from(sorted(self.known)))
        self.cache.forget(self.known.pop(key))

    @rule(salt=salts, path=paths)
    def hold(self, salt, path):
        for node in self.cache.match(salt, tokens(*path), [])[-1:]:
            self.cache.hold(node)
            self.held.append(node)

    @precondition(lambda self: self.held)
    @rule()
    def drop(self):
        self.cache.drop(self.held.pop())

    @rule(salt=salts, path=paths)
    def match(self, salt, path):
        nodes = self.cache.match(salt, tokens(*path), [])
        for count, node in enumerate(nodes, start=1):
            assert node.blocks[0] == self.known.get((salt, tuple(path[:count])), -1)
        for (known_salt, known), _ in self.known.items():
            if known_salt == salt and known == tuple(path[: len(known)]):
                assert len(nodes) >= len(known), "a block that is there was not found"

    @invariant()
    def exactly_the_known_blocks_are_owned(self):
        assert self.cache.owned_blocks() == set(self.known.values())
        if not self.known and not self.held:
            assert not list(self.cache.nodes()), "a node that nothing needs"


TestPrefixMachine = PrefixMachine.TestCase
TestPrefixMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
