"""Events come out whole, wherever the bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.bench.sse import EventSplitter

STREAM = (
    ': ping\n\ndata: {"a": "é😀"}\n\ndata:two\ndata: lines\n\nevent: x\nid: 1\n\ndata: [DONE]\n\n'
)
EVENTS = ['{"a": "é😀"}', "two\nlines", "[DONE]"]


def split(data: bytes, cuts: list[int]) -> list[str]:
    splitter = EventSplitter()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    return [event.decode() for piece in pieces for event in splitter.feed(piece)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@given(cuts=st.lists(st.integers(0, 200)))
def test_cuts_anywhere_change_nothing(newline: str, cuts: list[int]) -> None:
    assert split(STREAM.replace("\n", newline).encode(), cuts) == EVENTS


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_events_are_the_same_byte_by_byte(newline: bytes) -> None:
    data = STREAM.encode().replace(b"\n", newline)
    assert split(data, list(range(len(data)))) == EVENTS


def test_several_plain_events_at_once() -> None:
    assert split(b"data: a\n\ndata:b\n\n", []) == ["a", "b"]


def test_an_event_without_its_blank_line_is_not_one() -> None:
    assert split(b"data: a\n\ndata: half", []) == ["a"]
