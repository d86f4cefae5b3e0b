"""The arrays of decode steps, updated in place: equal to arrays that are made anew."""

from __future__ import annotations

from dataclasses import fields
from random import Random

import numpy as np
import pytest
from fake_backend import BLOCK, finish_all, make_engine, make_request, mix

from legato.backends.base import SamplingInput, StepInput, StepOutput
from legato.decode_rows import SPARE_BLOCKS, DecodeRows
from legato.kvcache.cache import KVCache
from legato.program.program import KVGroup, KVLayout
from legato.sampling_slots import SlotStates
from legato.scheduler.batch import Batch
from legato.scheduler.sequence import Sequence, make_samples

VOCAB = 97
MAX_TOKENS = 4096


class Decoding:
    """Sequences that decode together, with their cache, as the scheduler drives it."""

    def __init__(self, windows, lengths, **params) -> None:
        groups = tuple(KVGroup((index,), window) for index, window in enumerate(windows))
        layout = KVLayout(groups, BLOCK, num_kv_heads=1, head_dim=8, dtype="f32")
        self.cache = KVCache(
            layout, 1500, num_slots=8, max_tokens=MAX_TOKENS, prefix_cache=False, chain_hash=None
        )
        self.slots = SlotStates(8, VOCAB)
        self.sequences = [self._opened(f"{i}", n, **params) for i, n in enumerate(lengths)]

    def _opened(self, name: str, length: int, **params) -> Sequence:
        (sequence,) = make_samples(
            make_request(name, length, **params),
            arrival=0,
            seed=7,
            due_ns=0,
            tbt_ns=1,
            length_limit=MAX_TOKENS,
            stop_ids=frozenset(),
        )
        sequence.table = self.cache.open(None)
        self.cache.extend(sequence.table, length)
        sequence.num_computed = length - 1
        self.cache.advance(sequence.table, sequence.tokens, sequence.num_computed)
        return sequence

    @property
    def batch(self) -> Batch:
        return decode_batch(*self.sequences)

    def rows(self) -> DecodeRows:
        return DecodeRows(self.sequences, self.cache.tables, BLOCK, self.slots)

    def go_on(self, tokens: list[int]) -> None:
        """A step chose `tokens`; every sequence has room for the next."""
        for sequence, token in zip(self.sequences, tokens, strict=True):
            sequence.num_computed += 1
            sequence.append(token)
            self.cache.advance(sequence.table, sequence.tokens, sequence.num_computed)
            self.cache.extend(sequence.table, sequence.num_tokens)


def decode_batch(*sequences: Sequence) -> Batch:
    return Batch(list(sequences), [1] * len(sequences), only_decodes=True)


def output(tokens: list[int]) -> StepOutput:
    none = np.empty((len(tokens), 0))
    return StepOutput(
        token_ids=np.array(tokens, np.int32),
        logprobs=np.full(len(tokens), np.nan, np.float32),
        top_ids=none.astype(np.int32),
        top_logprobs=none.astype(np.float32),
    )


def assert_equal(step: StepInput, fresh: StepInput) -> None:
    """The same step; of the tables, what both have of it."""
    for name in ("token_ids", "positions", "query_starts", "kv_lengths", "output_rows"):
        np.testing.assert_array_equal(getattr(step, name), getattr(fresh, name), name)
    width = -(-int(fresh.kv_lengths.max()) // BLOCK)
    assert step.block_tables.shape[2] >= width
    np.testing.assert_array_equal(step.block_tables[:, :, :width], fresh.block_tables[:, :, :width])
    for entry in fields(SamplingInput):
        mine, other = getattr(step.sampling, entry.name), getattr(fresh.sampling, entry.name)
        np.testing.assert_array_equal(mine, other, entry.name)


@pytest.mark.parametrize("windows", [(None,), (None, 24), (5,)])
@pytest.mark.parametrize("seed", range(4))
def test_rows_that_advance_equal_new_ones_after_every_token(windows, seed):
    random = Random(seed)
    lengths = [random.randint(1, 90) for _ in range(random.randint(1, 6))]
    decoding = Decoding(windows, lengths, temperature=0.7)
    rows = decoding.rows()
    for step in range(150):
        tokens = [mix(seed, step, i) % VOCAB for i in range(len(lengths))]
        rows.take(output(tokens))
        decoding.go_on(tokens)
        assert rows.continues_as(decoding.batch)
        rows.advance()
        assert_equal(rows.step, decoding.rows().step)


def test_the_arrays_stay_the_same_arrays():
    decoding = Decoding((None,), [20, 30])
    rows = decoding.rows()
    before = rows.step
    arrays = [id(getattr(before, entry.name)) for entry in fields(StepInput)]
    rows.take(output([1, 2]))
    decoding.go_on([1, 2])
    rows.advance()
    assert rows.step is before
    assert [id(getattr(before, entry.name)) for entry in fields(StepInput)] == arrays


def test_rows_do_not_go_on_where_tables_would_not_fit_any_more():
    decoding = Decoding((None,), [BLOCK])
    rows = decoding.rows()
    for step in range(SPARE_BLOCKS * BLOCK):
        assert rows.continues_as(decoding.batch), step
        rows.take(output([3]))
        decoding.go_on([3])
        rows.advance()
    assert not rows.continues_as(decoding.batch)


def test_rows_do_not_go_on_as_another_batch():
    decoding = Decoding((None,), [20, 30, 40])
    rows, (a, b, c) = decoding.rows(), decoding.sequences
    assert rows.continues_as(decode_batch(a, b, c))
    assert not rows.continues_as(decode_batch(a, b))
    assert not rows.continues_as(decode_batch(b, a, c))
    assert not rows.continues_as(Batch([a, b, c], [1, 3, 1]))


def test_rows_do_not_go_on_where_a_sequence_came_back_in_another_table():
    decoding = Decoding((None,), [20, 30])
    rows, first = decoding.rows(), decoding.sequences[0]
    decoding.cache.close(first.table)
    first.table = decoding.cache.open(None)
    decoding.cache.extend(first.table, 20)
    assert not rows.continues_as(decoding.batch)


@pytest.mark.parametrize(
    "params", [{"presence_penalty": 1.0}, {"logit_bias": {3: 1.0}}, {"min_tokens": 4}]
)
def test_rows_do_not_go_on_where_sampling_changes_with_each_token(params):
    decoding = Decoding((None,), [20, 30], **params)
    assert not decoding.rows().continues_as(decoding.batch)


def test_an_engine_goes_on_with_one_step_while_the_batch_stays():
    engine, backend = make_engine()
    seen: list[int] = []
    run = backend.run
    backend.run = lambda step: (seen.append(id(step)), run(step))[1]
    finish_all(engine, make_request("a", 20, max_tokens=12), make_request("b", 9, max_tokens=12))
    assert len(set(seen)) < len(seen) / 2
