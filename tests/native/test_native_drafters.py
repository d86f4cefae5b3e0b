"""Native drafters guess what those in Python guess, token for token and class for class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from legato import _native
from legato.speculative.draft import Draft, Drafter
from legato.speculative.lookup import LookupDrafter
from legato.speculative.ngrams import NUM_CLASSES, ORDER, NGramTable, count_ngrams
from legato.speculative.recall import RecallDrafter
from legato.speculative.suffix import SuffixDrafter
from legato.speculative.tenants import MAX_TENANTS

LARGEST_ID = 2**31 - 1
SHARED = (0, 1, 7, 40, 10_000)
"""Tokens of memory: none, less than an output, a few outputs, all."""


def ids(tokens: Sequence[int]) -> np.ndarray:
    return np.array(tokens, np.int32)


@cache
def table(alphabet: int) -> NGramTable:
    """Of random texts, in which some contexts are followed by the same token mostly."""
    texts = np.random.default_rng(alphabet).integers(0, alphabet, (40, 20)) ** 2 % alphabet
    return count_ngrams(texts.tolist())


def native_recall(table: NGramTable, shared: int) -> _native.RecallDrafter:
    rates = [places[0] for places in RecallDrafter(table).priors]
    return _native.RecallDrafter(*table.arrays(), rates, shared)


@dataclass
class Pair:
    """The draft of one text in Python and in C++."""

    reference: Draft
    native: _native.Draft

    def extend(self, tokens: Sequence[int]) -> None:
        self.reference.extend(tokens)
        self.native.extend(ids(tokens))

    def finish(self, output: Sequence[int]) -> None:
        self.reference.finish(output)
        self.native.finish(ids(output))

    def propose(self, count: int) -> list[int]:
        expected = self.reference.propose(count)
        assert self.native.propose(count) == expected
        assert self.native.confidences == list(self.reference.confidences)
        return expected


@dataclass
class Pairs:
    """A drafter in both languages."""

    reference: Drafter
    native: _native.Drafter
    opened: list[Pair] = field(default_factory=list)

    def open(self, tenant: str = "") -> Pair:
        self.opened.append(Pair(self.reference.open(tenant), self.native.open(tenant)))
        return self.opened[-1]


def both(name: str, shared: int = 0, table: NGramTable | None = None) -> Pairs:
    if name == "lookup":
        return Pairs(LookupDrafter(), _native.LookupDrafter())
    if name == "suffix":
        return Pairs(SuffixDrafter(shared), _native.SuffixDrafter(shared))
    known = table or NGramTable()
    return Pairs(RecallDrafter(known, shared), native_recall(known, shared))


by_name = pytest.mark.parametrize("name", ["lookup", "suffix", "recall"])
by_memory = pytest.mark.parametrize("name", ["suffix", "recall"])

tokens = st.integers(0, 3)
text = st.lists(tokens, max_size=30)
counts = st.integers(0, 12)


@by_name
@given(st.lists(st.tuples(text, counts), max_size=8))
def test_one_text_is_continued_alike_wherever_it_is_asked(
    name: str, pieces: list[tuple[list[int], int]]
) -> None:
    pair = both(name, 0, table(4)).open()
    for piece, count in pieces:
        pair.extend(piece)
        pair.propose(count)


@by_name
@pytest.mark.parametrize("alphabet", [1, 2, 3, 6, 40, LARGEST_ID])
def test_a_long_text_is_continued_alike_after_every_token(name: str, alphabet: int) -> None:
    rng = np.random.default_rng(alphabet)
    pair = both(name, 0, table(min(alphabet, 6))).open()
    words = [rng.integers(0, alphabet, 5).tolist() for _ in range(9)]
    guessed = 0
    for number in rng.integers(0, len(words), 60).tolist():
        for token in [*words[number], alphabet]:
            pair.extend([min(token, LARGEST_ID)])
            guessed += len(pair.propose(6))
    assert guessed > 200


@pytest.mark.parametrize(("name", "follower"), [("lookup", 104), ("suffix", 101), ("recall", 102)])
def test_of_long_matches_the_same_one_is_copied(name: str, follower: int) -> None:
    passage = list(range(40))
    pair = both(name).open()
    for number, length in enumerate((40, 32, 31, 30)):
        pair.extend([90 + number, *passage[-length:], 101 + number])
    pair.extend(passage)
    assert pair.propose(1) == [follower]


steps = st.one_of(
    st.tuples(st.just("open"), st.sampled_from(["ann", "bob"])),
    st.tuples(st.just("extend"), st.integers(0, 3), text),
    st.tuples(st.just("propose"), st.integers(0, 3), counts),
    st.tuples(st.just("finish"), st.integers(0, 3), text),
)


@by_memory
@given(st.sampled_from(SHARED), st.lists(steps, max_size=40))
@example(7, [("finish", 0, [1, 2, 3]), ("open", "ann"), ("finish", 0, [1, 2]), ("propose", 1, 4)])
def test_texts_that_share_a_memory_are_continued_alike(
    name: str, shared: int, steps: list[tuple[Any, ...]]
) -> None:
    pairs = both(name, shared, table(4))
    pairs.open("ann")
    for kind, *what in steps:
        if kind == "open":
            pairs.open(*what)
        else:
            number, argument = what
            getattr(pairs.opened[-1 - number % len(pairs.opened)], kind)(argument)


@by_memory
@pytest.mark.parametrize("shared", SHARED[1:])
def test_generations_change_alike_while_drafts_read_them(name: str, shared: int) -> None:
    rng = np.random.default_rng(shared)
    pairs = both(name, shared, table(5))
    guessed = 0
    for number in range(120):
        pair = pairs.open(f"tenant {number % 3}")
        for reading in pairs.opened[-6:]:
            reading.extend(rng.integers(0, 5, 4).tolist())
            guessed += len(reading.propose(5))
        pair.finish(rng.integers(0, 5, number % 9).tolist())
    assert guessed > 500


@by_memory
def test_the_same_tenants_are_forgotten(name: str) -> None:
    pairs = both(name, 1000)
    pairs.open("kept").finish([1, 2, 3, 4, 5])
    tenants = [f"tenant {number}" for number in range(MAX_TENANTS + 20)]
    for tenant in tenants:
        pairs.open("kept")
        pairs.open(tenant).finish([1, 2, 3, 4, 5])
    remembered = []
    for tenant in ("kept", *reversed(tenants)):
        pair = pairs.open(tenant)
        pair.extend([1, 2, 3])
        remembered.append(pair.propose(2) == [4, 5])
    assert remembered == [True] * MAX_TENANTS + [False] * 21


def test_what_a_draft_reads_outlives_its_drafter() -> None:
    for name in ("suffix", "recall"):
        pairs = both(name, 100, table(4))
        pairs.open().finish([1, 2, 3, 4, 5])
        pair = pairs.open()
        del pairs
        pair.extend([9, 1, 2])
        assert pair.propose(2) == [3, 4]


def test_of_equal_keys_the_last_counts() -> None:
    rates = [0.9] * len(RecallDrafter(NGramTable()).priors)
    keys, classes = np.array([6, 6], np.int64), np.zeros(2, np.uint8)
    draft = _native.RecallDrafter(keys, ids([7, 8]), classes, rates, 0).open("")
    draft.extend(ids([5]))
    assert draft.propose(1) == [8]


@by_name
def test_bad_arguments_are_refused(name: str) -> None:
    draft = both(name, 10).native.open("")
    for refused in (ids([1, -1]), ids([-(2**31)])):
        with pytest.raises(ValueError, match="not negative"):
            draft.extend(refused)
        with pytest.raises(ValueError, match="not negative"):
            draft.finish(refused)
    for other in (np.zeros((2, 2), np.int32), np.zeros(2, np.int64), ids([1, 2, 3])[::2], [1]):
        with pytest.raises(TypeError):
            draft.extend(other)  # type: ignore[arg-type]
    for count in (-1, 2**31, 2**62):
        with pytest.raises(ValueError, match="count"):
            draft.propose(count)
    assert draft.propose(3) == draft.confidences == []


def test_a_drafter_cannot_be_made_of_bad_parts() -> None:
    with pytest.raises(ValueError, match="shared_tokens"):
        _native.SuffixDrafter(-1)
    with pytest.raises(TypeError):
        _native.Drafter()
    with pytest.raises(TypeError):
        _native.Draft()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tokens": ids([1])}, "one of each"),
        ({"keys": np.array([1, -1], np.int64)}, "keys"),
        ({"keys": np.array([1, 2**62], np.int64)}, "keys"),
        ({"tokens": ids([1, -1])}, "token ids"),
        ({"classes": np.array([0, NUM_CLASSES], np.uint8)}, "classes"),
        ({"rates": [0.5] * (2 * NUM_CLASSES)}, "rates"),
        ({"shared_tokens": -1}, "shared_tokens"),
    ],
)
def test_a_table_that_is_none_is_refused(wrong: dict[str, object], said: str) -> None:
    parts: dict[str, object] = {
        "keys": np.array([1, 2], np.int64),
        "tokens": ids([1, 2]),
        "classes": np.array([0, ORDER], np.uint8),
        "rates": [0.5] * len(RecallDrafter(NGramTable()).priors),
        "shared_tokens": 0,
    }
    _native.RecallDrafter(**parts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=said):
        _native.RecallDrafter(**(parts | wrong))  # type: ignore[arg-type]
