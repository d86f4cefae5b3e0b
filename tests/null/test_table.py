"""Block tables through `KVCache`: windows, prefix hits, forks, and how much a sequence holds."""

from __future__ import annotations

import numpy as np
import pytest
from fake_backend import BLOCK, fake_program
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from legato.errors import CapacityError
from legato.kvcache.cache import KVCache
from legato.kvcache.integrity import check_integrity

IDS = np.arange(400, dtype=np.int32)


def new_cache(windows=(None,), num_blocks=60, prefix_cache=True, num_slots=8) -> KVCache:
    return KVCache(
        fake_program(windows).kv,
        num_blocks,
        num_slots=num_slots,
        max_tokens=400,
        prefix_cache=prefix_cache,
    )


def compute(cache: KVCache, table, ids: np.ndarray, upto: int, chunk: int = 7) -> None:
    """Extend and advance `table` to `upto` tokens of `ids` in chunks."""
    start = min(table.num_blocks, table.num_full) * BLOCK
    for end in [*range(start + chunk, upto, chunk), upto]:
        cache.extend(table, end)
        cache.advance(table, ids, end)
        check_integrity(cache)


def test_a_table_grows_by_a_block_per_group():
    cache = new_cache((None, None))
    table = cache.open("")
    cache.extend(table, 1)
    assert cache.pool.num_used == 2
    cache.extend(table, 16)
    assert cache.pool.num_used == 2
    cache.extend(table, 17)
    assert cache.pool.num_used == 4
    cache.close(table)
    assert cache.pool.num_free == 60


def test_a_table_that_cannot_grow_is_left_as_it_was():
    cache = new_cache(num_blocks=3)
    table = cache.open("")
    cache.extend(table, 40)
    with pytest.raises(CapacityError):
        cache.extend(table, 49)
    check_integrity(cache)
    assert cache.room(table) == 48


@pytest.mark.parametrize("window", [1, 16, 17, 40])
def test_a_window_holds_a_ring_of_blocks(window):
    cache = new_cache((window,), prefix_cache=False)
    table = cache.open("")
    for end in range(1, 300):
        cache.extend(table, end)
        assert cache.pool.num_used <= cache.blocks_for(300, 1) == -(-(window - 1) // BLOCK) + 1
        cache.advance(table, IDS, end)
        oldest = max(0, end - window + 1)
        assert (table.entries[0, oldest // BLOCK : -(-end // BLOCK)] >= 0).all()
        check_integrity(cache)


def test_a_hit_leaves_one_token_to_compute():
    cache = new_cache()
    table = cache.open("")
    compute(cache, table, IDS, 64)
    assert len(cache.lookup(IDS[:64], "", []).nodes) == 3
    assert len(cache.lookup(IDS[:65], "", []).nodes) == 4
    assert cache.lookup(IDS[:65], "other", []).num_blocks == 0


def test_a_hit_shares_the_blocks_of_a_live_table():
    cache = new_cache()
    first = cache.open("")
    compute(cache, first, IDS, 64)
    hit = cache.lookup(IDS[:100], "", [])
    assert (hit.num_blocks, hit.num_idle) == (4, 0)
    second = cache.open("", hit)
    assert (second.entries[0, :4] == first.entries[0, :4]).all()
    cache.close(first)
    check_integrity(cache)
    assert cache.pool.num_used == 4


def test_a_hit_with_a_window_needs_only_the_last_blocks():
    cache = new_cache((None, 20))
    table = cache.open("")
    compute(cache, table, IDS, 100)
    cache.close(table)
    hit = cache.lookup(IDS[:101], "", [])
    assert [len(group) for group in hit.blocks] == [6, 2]
    second = cache.open("", hit)
    assert (second.entries[1, :4] == -1).all()
    check_integrity(cache)


def test_without_prefix_cache_nothing_is_kept():
    cache = new_cache(prefix_cache=False)
    table = cache.open("")
    compute(cache, table, IDS, 64)
    cache.close(table)
    assert cache.pool.num_free == 60
    assert cache.lookup(IDS, "", []).num_blocks == 0


def test_a_table_without_salt_shares_nothing():
    cache = new_cache()
    table = cache.open(None)
    compute(cache, table, IDS, 64)
    cache.close(table)
    assert cache.pool.num_cached == 0


def test_the_tail_of_a_closed_table_is_evicted_first():
    cache = new_cache(num_blocks=4)
    table = cache.open("")
    compute(cache, table, IDS, 64)
    cache.close(table)
    other = cache.open("")
    cache.extend(other, 17)
    assert len(cache.lookup(IDS, "", []).nodes) == 2


@pytest.mark.parametrize("windows", [(None,), (None, 24)])
@pytest.mark.parametrize("length", [1, 16, 31, 32, 40])
def test_a_fork_shares_full_blocks_and_copies_the_one_that_both_write(windows, length):
    cache = new_cache(windows)
    source = cache.open("")
    compute(cache, source, IDS, length + 1)
    used = cache.pool.num_used
    assert cache.can_fork(source, length)
    fork, copies = cache.fork(source, length)
    check_integrity(cache)
    assert len(copies) == cache.fork_cost(length) == cache.pool.num_used - used
    shared, rest = divmod(length, BLOCK)
    for group in range(len(windows)):
        start = fork.starts[group]
        mine, theirs = fork.entries[group], source.entries[group]
        assert (mine[start:shared] == theirs[start:shared]).all()
        if rest:
            assert (theirs[shared], mine[shared]) in copies
    cache.close(source)
    compute(cache, fork, IDS, 80)
    cache.close(fork)
    assert cache.pool.num_used == 0


def test_a_fork_is_refused_where_the_window_has_passed():
    cache = new_cache((20,))
    source = cache.open("")
    compute(cache, source, IDS, 90)
    assert not cache.can_fork(source, 40)
    assert cache.can_fork(source, 89)


def test_the_longest_sequence_is_the_longest_that_fits():
    assert new_cache(num_blocks=5).longest_sequence() == 80
    assert new_cache((None, None), num_blocks=5).longest_sequence() == 32
    assert new_cache((20,), num_blocks=3).longest_sequence() == 400
    assert new_cache((None, 20), num_blocks=9).longest_sequence() == 96


class CacheMachine(RuleBasedStateMachine):
    """Sequences over few tokens come, grow, fork and go; a block never changes under a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = new_cache((None, 20), num_blocks=24, num_slots=5)
        self.content = np.full((24, BLOCK), -1, np.int64)
        self.live: list[tuple] = []

    def write(self, table, ids, start, end):
        for position in range(start, end):
            for group, row in enumerate(table.entries):
                value = hash((group, ids[: position + 1].tobytes())) % (1 << 40)
                self.content[row[position // BLOCK], position % BLOCK] = value

    @precondition(lambda self: len(self.live) < 5)
    @rule(data=st.data())
    def open(self, data):
        picks = data.draw(st.lists(st.integers(0, 1), min_size=2, max_size=6))
        ids = np.repeat(np.array(picks, np.int32), 13)
        salt = data.draw(st.sampled_from(["", "a"]))
        hit = self.cache.lookup(ids, salt, [])
        table = self.cache.open(salt, hit)
        self.live.append((table, ids, len(hit.nodes) * BLOCK))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def grow(self, data):
        place = data.draw(st.integers(0, len(self.live) - 1))
        table, ids, computed = self.live[place]
        end = min(computed + data.draw(st.integers(1, 40)), len(ids), self.cache.room(table))
        if end <= computed:
            return
        self.cache.extend(table, end)
        self.write(table, ids, computed, end)
        self.cache.advance(table, ids, end)
        self.live[place] = (table, ids, end)

    @precondition(lambda self: self.live and len(self.live) < 5)
    @rule(data=st.data())
    def fork(self, data):
        table, ids, computed = data.draw(st.sampled_from(self.live))
        at = computed - 1
        if at < 0 or not self.cache.can_fork(table, at):
            return
        if self.cache.fork_cost(at) > self.cache.pool.available:
            return
        copy, pairs = self.cache.fork(table, at)
        for source, target in pairs:
            self.content[target] = self.content[source]
        self.live.append((copy, ids, at))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def close(self, data):
        place = data.draw(st.integers(0, len(self.live) - 1))
        self.cache.close(self.live.pop(place)[0])

    @invariant()
    def everyone_reads_what_they_wrote(self):
        check_integrity(self.cache)
        for table, ids, computed in self.live:
            for group, start in enumerate(table.starts):
                for position in range(start * BLOCK, computed):
                    block = table.entries[group, position // BLOCK]
                    value = hash((group, ids[: position + 1].tobytes())) % (1 << 40)
                    assert self.content[block, position % BLOCK] == value


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
