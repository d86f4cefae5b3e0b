"""HTTP responses come out whole, wherever the bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.bench.wire import HttpError, ResponseParser

BODY = "data: é\n\ndata: [DONE]\n\n".encode()
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nX: y\r\n\r\n"
    + b"".join(b"%x;note\r\n%s\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:]))
    + b"0\r\nTrailer: 1\r\n\r\n"
)
COUNTED = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CLOSED = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + BODY


def parse(data: bytes, cuts: list[int]) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    body = b"".join(parser.feed(data[a:b]) for a, b in itertools.pairwise(edges))
    return parser, body


@pytest.mark.parametrize("data", [CHUNKED, COUNTED])
@given(cuts=st.lists(st.integers(0, 300)))
def test_cuts_anywhere_change_nothing(data: bytes, cuts: list[int]) -> None:
    parser, body = parse(data, cuts)
    assert body == BODY
    assert parser.ended
    assert parser.reusable


@pytest.mark.parametrize("data", [CHUNKED, COUNTED])
def test_a_response_is_the_same_byte_by_byte(data: bytes) -> None:
    parser, body = parse(data, list(range(len(data))))
    assert (body, parser.ended) == (BODY, True)


def test_a_body_without_length_ends_with_the_connection() -> None:
    parser, body = parse(CLOSED, [])
    assert body == BODY
    assert not parser.ended
    parser.finish()
    assert parser.ended
    assert not parser.reusable


@pytest.mark.parametrize("data", [CHUNKED[:-2], COUNTED[:-1]])
def test_the_end_of_the_connection_does_not_complete_a_framed_body(data: bytes) -> None:
    parser, _ = parse(data, [])
    parser.finish()
    assert not parser.ended


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 2",
    ],
)
def test_what_is_not_http_is_an_error(data: bytes) -> None:
    parser = ResponseParser()
    if data.endswith(b"2"):
        data += b"x" * 70_000
    with pytest.raises(HttpError):
        parser.feed(data)
