"""The native book asks, learns and chooses as the reference does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato import _native
from legato.speculative.book import Book
from legato.speculative.depth import least_gain, margin
from legato.speculative.make import reference_book
from legato.speculative.native_book import native_book
from legato.speculative.ngrams import NGramTable, count_ngrams
from legato.speculative.row_prices import RowPrices
from legato.speculative.settings import SpeculationSettings, parse_speculation

DRAFTERS = ["lookup", "suffix", "suffix,shared=60", "recall", "recall,shared=60"]
TABLE = count_ngrams([[0, 0, 0, *([1, 2, 0, 1, 1, 2] * 4)]] * 20)

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12)
prices = st.builds(
    lambda decodes, slopes: priced(decodes, slopes),
    st.integers(2, 4),
    st.lists(st.floats(0.0, 0.2), max_size=12),
)
steps = st.lists(st.tuples(st.lists(tokens, min_size=2, max_size=2), prices), max_size=8)


def priced(decodes: int, slopes: Sequence[float]) -> RowPrices:
    times = [1.0]
    for slope in slopes:
        times.append(times[-1] + slope)
    return RowPrices(decodes, times, margin(decodes), least_gain(decodes, times))


def array(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int32)


def books(drafter: str, table: NGramTable = TABLE) -> list[Book]:
    settings = parse_speculation(drafter)
    return [make(settings, lambda: table) for make in (reference_book, native_book)]


def run(book: Book, history, limit_ns: float, fixed_rows: int | None) -> list:
    """What `book` drafts for two texts of a tenant that grow together."""
    found = []
    for _ in range(2):  # what one text leaves behind is known to the next
        texts = [book.open("ann"), book.open("ann")]
        grown: list[list[int]] = [[], []]
        for added, price in history:
            for text, more in zip(grown, added, strict=True):
                text += more
            asked = [(t, array(g), 6) for t, g in zip(texts, grown, strict=True)]
            if fixed_rows is None:
                drafts, expected = book.propose(asked, price, limit_ns)
            else:
                drafts, expected = book.propose_all(asked, fixed_rows)
            found.append((drafts, pytest.approx(expected)))
            for text, draft in zip(texts, drafts, strict=True):
                if draft:  # the first half of it is right
                    book.verified(text, len(draft), len(draft) // 2)
        for text, output in zip(texts, grown, strict=True):
            book.finish(text, array(output[1:]))
    return found


@pytest.mark.parametrize("drafter", DRAFTERS)
@given(history=steps, limit_ns=st.sampled_from([1.2, float("inf")]))
def test_it_drafts_what_the_reference_drafts(drafter, history, limit_ns):
    reference, native = (run(book, history, limit_ns, None) for book in books(drafter))
    assert native == reference


@pytest.mark.parametrize("drafter", DRAFTERS)
@given(history=steps, rows=st.integers(0, 9))
def test_at_a_fixed_depth_it_drafts_what_the_reference_drafts(drafter, history, rows):
    reference, native = (run(book, history, 0.0, rows) for book in books(drafter))
    assert native == reference


@pytest.mark.parametrize("make", [reference_book, native_book])
def test_a_sure_copy_is_drafted_and_what_is_learnt_ends_it(make):
    book = make(SpeculationSettings(drafter="suffix"), NGramTable)
    text, grown = book.open(""), [1, 2, 3, 4, 5, 6, 7, 8] * 2
    price = priced(1, [0.1] * 6)
    ((draft,), expected) = book.propose([(text, array(grown), 6)], price, float("inf"))
    assert draft == [1, 2, 3, 4, 5]
    assert 2 < expected < 5
    for _ in range(40):
        drafts, _ = book.propose_all([(text, array(grown), 6)], 6)
        book.verified(text, len(drafts[0]), 0)
    assert book.propose([(text, array(grown), 6)], price, float("inf")) == ([[]], 0.0)


def test_bad_input_is_an_error():
    book = native_book(SpeculationSettings(drafter="suffix"), NGramTable)
    text = book.open("")
    book.propose_all([(text, array([1, 2, 3]), 1)], 4)
    with pytest.raises(ValueError, match="only grow"):
        book.propose_all([(text, array([1, 2]), 1)], 4)
    with pytest.raises(ValueError, match="of each text"):
        book.propose_all([(text, array([1, 2, 3]))], 4)  # type: ignore[list-item]
    with pytest.raises(RuntimeError):
        book.propose_all([(object(), array([1, 2, 3]), 1)], 4)
    with pytest.raises(ValueError, match="times"):
        book.propose([(text, array([1, 2, 3]), 1)], RowPrices(1, [], 1.0, 0.0), 1.0)
    with pytest.raises(ValueError, match="differ in length"):
        _native.Book(_native.LookupDrafter(), [[0.1, 0.2], [0.1]], 0.9, 3.0, 0.02)
    with pytest.raises(ValueError, match="none"):
        _native.Book(_native.LookupDrafter(), [], 0.9, 3.0, 0.02)


def test_a_text_that_is_asked_twice_at_once_is_harmless():
    book = native_book(SpeculationSettings(drafter="lookup"), NGramTable)
    text, tokens = book.open(""), array([1, 2, 3, 1, 2])
    drafts, _ = book.propose_all([(text, tokens, 3), (text, tokens, 1)], 9)
    assert drafts[1] == [3]
