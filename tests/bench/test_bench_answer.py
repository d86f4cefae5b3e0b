"""From chunks to tokens with stamps."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato import _native
from legato.bench.answer import Answer, learn_frame, place_tokens
from legato.bench.outcome import FailureKind, Outcome, RequestFailedError
from legato.metrics.timeline import Timeline


def chunk(content: str | None = None, **fields: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    reason = fields.pop("finish_reason", None)
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return json.dumps({"id": "x", "choices": [choice], **fields}, ensure_ascii=False).encode()


def settled(answer: Answer) -> Outcome:
    outcome = Outcome(Timeline(0))
    answer.settle(outcome)
    return outcome


def test_what_the_server_says_of_itself_is_kept() -> None:
    answer = Answer()
    answer.take(chunk("a", legato={"timing": {"ttft_ms": 5}, "cost": {"machine_ms": 7.5}}), 1)
    outcome = settled(answer)
    assert (outcome.server_ttft_ms, outcome.machine_ns) == (5.0, 7_500_000)


@pytest.mark.parametrize("value", ["x", {"timing": 3}, {"timing": {"ttft_ms": "5"}}, [1]])
def test_something_else_by_that_name_is_passed_over(value: object) -> None:
    answer = Answer()
    answer.take(chunk("a", legato=value), 1)
    assert settled(answer).server_ttft_ms is None


def take_all(events: list[bytes]) -> None:
    answer = Answer()
    for event in events:
        answer.take(event, 1)
    answer.check()


@given(st.lists(st.text(min_size=1), max_size=8))
def test_learnt_frames_give_the_same_text_as_parsing(texts: list[str]) -> None:
    answer = Answer()
    for time, text in enumerate(texts):
        answer.take(chunk(text), time)
    assert answer.pieces == texts
    assert answer.stamps_ns == list(range(len(texts)))


def test_a_plain_chunk_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer()
    answer.take(chunk("a"), 1)
    monkeypatch.setattr("legato.bench.answer.json.loads", None)
    answer.take(chunk("b"), 2)
    assert answer.pieces == ["a", "b"]


def as_http_chunk(event: bytes) -> bytes:
    return b"%x\r\ndata: %s\n\n\r\n" % (len(event) + 8, event)


@given(st.text(min_size=1))
def test_a_whole_http_chunk_is_taken_where_it_is_plain_and_left_where_not(text: str) -> None:
    answer = Answer()
    answer.take(chunk("first"), 1)
    event, data = chunk(text), b"xy" + as_http_chunk(chunk(text)) + b"z"
    taken = answer.take_chunks(data, [2, len(data) - 1, len(data)], [6, 7, 8], 1)
    plain = json.dumps(text, ensure_ascii=False)[1:-1] == text
    assert taken == int(plain)
    if not taken:
        answer.take(event, 7)
    assert answer.pieces == ["first", text]
    assert answer.stamps_ns == [1, 7]


@pytest.mark.parametrize(
    "data",
    [
        b"5\r\n" + as_http_chunk(chunk("b"))[4:],  # another size than it says
        as_http_chunk(chunk("b")) + as_http_chunk(chunk("c")),
        as_http_chunk(chunk("b"))[:-1],
        as_http_chunk(chunk("")),
        as_http_chunk(b"[DONE]"),
        as_http_chunk(chunk("b", finish_reason="stop")),
        b"",
    ],
)
def test_what_is_not_one_chunk_with_one_text_is_left(data: bytes) -> None:
    answer = Answer()
    answer.take(chunk("a"), 1)
    assert answer.take_chunks(data, [len(data)], [2], 0) == 0
    assert answer.pieces == ["a"]


def test_chunks_are_taken_with_their_stamps_up_to_one_that_is_not_plain() -> None:
    answer = Answer()
    answer.take(chunk("a"), 1)
    pieces = [as_http_chunk(chunk(text)) for text in ("b", "é", 'with "quotes"', "d")]
    ends = list(accumulate(map(len, pieces)))
    assert answer.take_chunks(b"".join(pieces), ends, [2, 3, 4, 5], 0) == 2
    assert answer.take_chunks(b"".join(pieces), ends, [2, 3, 4, 5], 3) == 1
    assert answer.pieces == ["a", "b", "é", "d"]
    assert answer.stamps_ns == [1, 2, 3, 5]


def test_text_that_is_no_utf8_is_malformed_and_no_crash() -> None:
    answer = Answer()
    answer.take(chunk("a"), 1)
    event = chunk("b").replace(b'"b"', b'"\xff"')
    data = as_http_chunk(event)
    assert answer.take_chunks(data, [len(data)], [2], 0) == 0
    with pytest.raises(RequestFailedError) as failure:
        answer.take(event, 2)
    assert failure.value.kind is FailureKind.MALFORMED


@given(st.binary(max_size=60), st.binary(max_size=8), st.binary(max_size=8))
def test_no_bytes_crash_the_taking_of_chunks(data: bytes, before: bytes, after: bytes) -> None:
    framed = b"%x\r\n" % len(data) + data + b"\r\n"
    for piece in (data, framed):
        assert len(_native.plain_texts(piece, [len(piece)], 0, before, after)) <= 1


@pytest.mark.parametrize("ends", [[9], [-1], [3, 2]])
def test_pieces_beyond_their_bytes_are_refused(ends: list[int]) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        _native.plain_texts(b"abcd", ends, len(ends) - 1, b"", b"")


def test_nothing_is_taken_before_a_frame_is_learnt() -> None:
    data = as_http_chunk(chunk("a"))
    assert Answer().take_chunks(data, [len(data)], [1], 0) == 0


def test_a_frame_is_learnt_only_where_the_text_stands_once() -> None:
    assert learn_frame(b'{"id": "a", "content": "a"}', "a") is None
    assert learn_frame(b'{"content": "a\\n"}', "a\n") is None


def test_a_role_or_an_empty_text_is_no_token() -> None:
    answer = Answer()
    answer.take(b'{"choices": [{"delta": {"role": "assistant", "content": ""}}]}', 1)
    answer.take(b'{"choices": [{"delta": {"role": "assistant", "content": null}}]}', 2)
    assert answer.stamps_ns == []


def test_completions_and_reasoning_carry_text_too() -> None:
    answer = Answer()
    answer.take(b'{"choices": [{"text": "a", "finish_reason": null}]}', 1)
    answer.take(b'{"choices": [{"delta": {"reasoning_content": "b"}}]}', 2)
    assert answer.pieces == ["a", "b"]


def test_usage_counts_the_tokens() -> None:
    answer = Answer()
    answer.take(chunk("two tokens"), 10)
    answer.take(chunk(finish_reason="stop"), 20)
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    answer.take(json.dumps({"choices": [], "usage": usage}).encode(), 21)
    outcome = settled(answer)
    assert outcome.timeline.stamps_ns == [10, 10, 20]
    assert outcome.timeline.prompt_tokens == 7
    assert outcome.counted_by == "usage"


def test_without_usage_a_chunk_is_a_token_and_that_is_said() -> None:
    answer = Answer()
    answer.take(chunk("a"), 1)
    assert settled(answer).counted_by == "chunks"
    assert settled(answer).timeline.output_tokens == 1


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([chunk("a"), chunk(finish_reason="stop")], FailureKind.INCOMPLETE),
        ([chunk("a"), b"[DONE]"], FailureKind.INCOMPLETE),
        ([chunk(finish_reason="stop"), b"[DONE]"], FailureKind.EMPTY),
        ([b'{"choices": [{"del'], FailureKind.MALFORMED),
        ([b"[1]"], FailureKind.MALFORMED),
        ([b'{"choices": ["x"]}'], FailureKind.MALFORMED),
        ([b'{"error": {"message": "no"}}'], FailureKind.STREAM_ERROR),
    ],
)
def test_what_is_not_a_complete_answer_has_a_kind(events: list[bytes], kind: FailureKind) -> None:
    with pytest.raises(RequestFailedError) as caught:
        take_all(events)
    assert caught.value.kind is kind


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(0, 60),
    st.booleans(),
)
def test_every_token_gets_a_time_and_times_ascend(
    chunks: list[tuple[int, int]], total: int, closes: bool
) -> None:
    stamps = [sum(gap for gap, _ in chunks[: n + 1]) for n in range(len(chunks))]
    closing = stamps[-1] + 1 if closes else 0
    placed = place_tokens(stamps, [size for _, size in chunks], closing, total)
    assert len(placed) == total
    assert placed == sorted(placed)
    assert set(placed) <= {*stamps, closing}
    if total >= len(chunks):
        assert set(stamps) <= set(placed)


def test_surplus_tokens_go_where_the_text_is() -> None:
    assert place_tokens([10, 20], [1, 9], 0, 12) == [10] * 2 + [20] * 10
