from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import TINY, Case, make_case

from legato.errors import InvalidRequestError
from legato.text.stop import StopFilter
from legato.text.stream import TextStream
from legato.text.tokenizer import Tokenizer

CASES = {name: make_case(name).tokenizer for name in TINY}


def pieces(tokenizer: Tokenizer, ids, stop=(), **options) -> list[str]:
    stream = TextStream(tokenizer, stop, **options)
    return [*map(stream.push, ids), stream.finish()]


def first_stop(text: str, stops) -> str:
    """The definition: cut before the stop string that is complete first, the longest if several."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(st.data(), st.sampled_from(TINY), st.booleans(), st.booleans())
def test_any_ids_stream_to_their_decoded_text(data, name, skip, continues):
    tokenizer = CASES[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    options = {"skip_special_tokens": skip, "continues": continues}
    assert "".join(pieces(tokenizer, ids, **options)) == tokenizer.decode(ids, **options)


@given(st.lists(st.integers(3, 258), max_size=30))
def test_any_bytes_stream_to_their_decoded_text(ids):
    tokenizer = CASES["tiny_sentencepiece-gguf"]
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


def test_hard_strings_stream_whole_characters(tiny: Case):
    for text in tiny.golden["ids"]:
        ids = tiny.tokenizer.encode(text)
        streamed = pieces(tiny.tokenizer, ids)
        assert "".join(streamed) == tiny.tokenizer.decode(ids)
        if "\ufffd" not in text:
            assert not any("\ufffd" in piece for piece in streamed)


def test_an_unfinished_character_is_shown_at_the_end(spiece_tokenizer: Tokenizer):
    assert pieces(spiece_tokenizer, [3 + byte for byte in "é".encode()[:1]]) == ["", "\ufffd"]


def test_the_first_space_is_dropped_only_at_the_start_of_a_text(spiece_tokenizer: Tokenizer):
    ids = spiece_tokenizer.encode("the the", add_special_tokens=False)
    assert "".join(pieces(spiece_tokenizer, ids)) == "the the"
    assert "".join(pieces(spiece_tokenizer, ids, continues=True)) == " the the"


def test_an_id_of_a_padded_vocabulary_has_no_text(byte_tokenizer: Tokenizer):
    assert pieces(byte_tokenizer, [byte_tokenizer.vocab_size]) == ["", ""]


@given(
    st.lists(st.text("ab ", max_size=4), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=5), max_size=4),
)
def test_stop_strings_cut_where_the_definition_says(chunks, stops):
    text = StopFilter(stops)
    given_out = "".join(map(text.push, chunks))
    given_out += text.finish()
    assert given_out == first_stop("".join(chunks), stops)
    assert text.stopped == any(stop in "".join(chunks) for stop in stops)


def test_text_that_may_begin_a_stop_string_is_held_back():
    text = StopFilter(["<end>"])
    assert [text.push(chunk) for chunk in ("ab<e", "n", "x<", "end", ">after")] == [
        "ab", "", "<enx", "", "",
    ]  # fmt: skip
    assert text.stopped
    assert text.finish() == ""


def test_nothing_comes_after_a_stop_string(byte_tokenizer: Tokenizer):
    ids = byte_tokenizer.encode("one two three two four")
    stream = TextStream(byte_tokenizer, ("two",))
    assert "".join(map(stream.push, ids)) + stream.finish() == "one "
    assert stream.stopped


def test_an_empty_stop_string_is_refused(byte_tokenizer: Tokenizer):
    with pytest.raises(InvalidRequestError) as caught:
        TextStream(byte_tokenizer, ("x", ""))
    assert caught.value.param == "stop"
