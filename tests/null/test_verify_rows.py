"""The arrays of steps that verify drafts, written in place: equal to arrays that are made anew."""

from __future__ import annotations

from random import Random

import pytest
from fake_backend import BLOCK
from test_decode_rows import VOCAB, Decoding, assert_equal

from legato.decode_rows import SPARE_BLOCKS
from legato.verify_rows import MOST_KEPT, VerifyRows


class Verifying(Decoding):
    """Sequences that verify drafts together."""

    def rows_to_verify(self) -> VerifyRows:
        return VerifyRows(self.sequences, self.cache.tables, BLOCK, self.slots)

    def draft(self, counts: list[int], random: Random) -> None:
        for sequence, count in zip(self.sequences, counts, strict=True):
            sequence.draft = [random.randrange(VOCAB) for _ in range(count)]
            self.cache.extend(sequence.table, sequence.num_tokens + count)

    def accept(self, random: Random) -> None:
        """Some of each draft was right."""
        for sequence in self.sequences:
            for _ in range(1 + random.randint(0, len(sequence.draft))):
                sequence.num_computed += 1
                sequence.append(random.randrange(VOCAB))
            sequence.draft = ()
            self.cache.advance(sequence.table, sequence.tokens, sequence.num_computed)
            self.cache.extend(sequence.table, sequence.num_tokens)


@pytest.mark.parametrize("windows", [(None,), (None, 24), (5,)])
@pytest.mark.parametrize("seed", range(4))
def test_rows_that_are_written_again_equal_new_ones(windows, seed):
    random = Random(seed)
    lengths = [random.randint(1, 60) for _ in range(random.randint(1, 4))]
    verifying = Verifying(windows, lengths, temperature=0.7)
    rows = verifying.rows_to_verify()
    for _ in range(3 * MOST_KEPT):
        verifying.draft([random.choice([0, 0, 1, 2, 5]) for _ in lengths], random)
        if not rows.serves(verifying.sequences):
            rows = verifying.rows_to_verify()
        assert_equal(rows.input(), verifying.rows_to_verify().input())
        verifying.accept(random)


def test_a_draft_has_a_row_for_each_token_and_one_before():
    verifying = Verifying((None,), [20, 30])
    for sequence, draft in zip(verifying.sequences, ([7, 8], []), strict=True):
        sequence.draft = draft
    step = verifying.rows_to_verify().input()
    assert step.query_starts.tolist() == [0, 3, 4]
    assert step.token_ids[1:3].tolist() == [7, 8]
    assert step.positions.tolist() == [19, 20, 21, 29]
    assert step.kv_lengths.tolist() == [22, 30]
    assert step.output_rows.tolist() == [0, 1, 2, 3]
    assert step.sampling.position.tolist() == [20, 21, 22, 30]


def test_equal_lengths_use_the_same_arrays():
    verifying, random = Verifying((None,), [20]), Random(1)
    verifying.draft([2], random)
    rows = verifying.rows_to_verify()
    first = rows.input()
    verifying.accept(random)
    verifying.draft([3], random)
    assert rows.input() is not first
    verifying.accept(random)
    verifying.draft([2], random)
    assert rows.input() is first


def test_rows_serve_the_same_sequences_as_long_as_their_tables_fit():
    verifying, random = Verifying((None,), [BLOCK, BLOCK]), Random(2)
    rows, (a, b) = verifying.rows_to_verify(), verifying.sequences
    rows.input()
    assert rows.serves([a, b])
    assert not rows.serves([b, a])
    assert not rows.serves([a])
    for _ in range(SPARE_BLOCKS * BLOCK):
        verifying.accept(random)
    assert rows.serves([a, b])
    verifying.accept(random)
    assert not rows.serves([a, b])


def test_rows_serve_nobody_whose_sampling_changes_with_each_token():
    verifying = Verifying((None,), [20], presence_penalty=0.5)
    rows = verifying.rows_to_verify()
    assert not rows.serves(verifying.sequences)
