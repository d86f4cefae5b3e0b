from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from legato.errors import CapacityError
from legato.kvcache.blocks import BlockPool


def new_pool(num_blocks: int = 4) -> tuple[BlockPool, list[int]]:
    evicted: list[int] = []
    return BlockPool(num_blocks, evicted.append), evicted


def counts(pool: BlockPool) -> tuple[int, int, int]:
    return pool.num_free, pool.num_used, pool.num_cached


def test_blocks_are_given_out_once():
    pool, _ = new_pool()
    assert sorted(pool.allocate(4)) == [0, 1, 2, 3]
    assert counts(pool) == (0, 4, 0)


def test_allocation_is_all_or_nothing():
    pool, _ = new_pool()
    pool.allocate(2)
    with pytest.raises(CapacityError, match="3 KV blocks"):
        pool.allocate(3)
    assert counts(pool) == (2, 2, 0)


def test_a_block_is_free_after_its_last_release():
    pool, _ = new_pool()
    (block,) = pool.allocate(1)
    pool.retain(block)
    pool.release(block)
    assert counts(pool) == (3, 1, 0)
    pool.release(block)
    assert counts(pool) == (4, 0, 0)


def test_releasing_too_often_is_an_error():
    pool, _ = new_pool()
    (block,) = pool.allocate(1)
    pool.release(block)
    with pytest.raises(ValueError, match="released more often"):
        pool.release(block)


def test_a_free_block_cannot_be_retained_or_kept():
    pool, _ = new_pool()
    with pytest.raises(KeyError):
        pool.retain(0)
    with pytest.raises(ValueError, match="not in use"):
        pool.keep(0)


def test_a_kept_block_is_cached_and_can_be_used_again():
    pool, evicted = new_pool()
    (block,) = pool.allocate(1)
    pool.keep(block)
    pool.release(block)
    assert counts(pool) == (3, 0, 1)
    pool.retain(block)
    assert counts(pool) == (3, 1, 0)
    assert not evicted


def test_the_least_recently_released_block_is_evicted_and_only_when_none_is_free():
    pool, evicted = new_pool(3)
    a, b, c = pool.allocate(3)
    for block in (a, b, c):
        pool.keep(block)
    for block in (b, a, c):
        pool.release(block)
    pool.retain(b)
    pool.release(b)
    pool.allocate(2)
    assert evicted == [a, c]
    assert not pool.is_kept(a)
    assert pool.is_kept(b)


class PoolMachine(RuleBasedStateMachine):
    """Against a model that is a dictionary of reference counts."""

    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.evicted: set[int] = set()
        self.pool = BlockPool(6, self.evicted.add)
        self.references: dict[int, int] = {}
        self.cached: list[int] = []
        self.kept: set[int] = set()

    @rule(target=blocks)
    def allocate(self):
        room = 6 - len(self.references)
        if not room:
            with pytest.raises(CapacityError):
                self.pool.allocate(1)
            return -1
        expected = self.cached[0] if len(self.cached) == room else None
        (block,) = self.pool.allocate(1)
        if expected is not None:
            assert block == expected
            assert block in self.evicted
            self.cached.pop(0)
            self.kept.discard(block)
        assert block not in self.references
        self.references[block] = 1
        return block

    @rule(target=blocks, block=blocks)
    def retain(self, block):
        if block not in self.references and block not in self.cached:
            return -1
        self.pool.retain(block)
        if block in self.cached:
            self.cached.remove(block)
        self.references[block] = self.references.get(block, 0) + 1
        return block

    @rule(block=consumes(blocks))
    def release(self, block):
        if block not in self.references:
            return
        self.pool.release(block)
        self.references[block] -= 1
        if not self.references[block]:
            del self.references[block]
            if block in self.kept:
                self.cached.append(block)

    @rule(block=blocks, data=st.data())
    def keep(self, block, data):
        if block in self.references:
            self.pool.keep(block)
            self.kept.add(block)

    @invariant()
    def accounts_agree(self):
        used, cached = len(self.references), len(self.cached)
        assert counts(self.pool) == (6 - used - cached, used, cached)
        assert all(self.pool.references(b) == n for b, n in self.references.items())


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
