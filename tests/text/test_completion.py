from __future__ import annotations

from legato.completion import SampleText, TextDelta
from legato.core import FinishReason, SamplingParams, TokenEvent, TokenLogprobs
from legato.text.tokenizer import Tokenizer


def event(token_id, finish=None, *, logprobs=None, error=None) -> TokenEvent:
    return TokenEvent(
        request_id="r", index=0, token_id=token_id, time_ns=0,
        finish_reason=finish, logprobs=logprobs, error=error,
    )  # fmt: skip


def run(tokenizer: Tokenizer, ids, finish, *, logprobs=False, **params) -> list[TextDelta]:
    sample = SampleText(tokenizer, SamplingParams(**params))
    return [
        sample.push(
            event(
                token_id,
                finish if position == len(ids) - 1 else None,
                logprobs=TokenLogprobs(-0.5, ((token_id, -0.5), (7, -1.5))) if logprobs else None,
            )
        )
        for position, token_id in enumerate(ids)
    ]


def text_of(deltas) -> str:
    return "".join(delta.text for delta in deltas)


def test_the_token_that_ends_a_sample_has_no_text(byte_tokenizer):
    ids = [*byte_tokenizer.encode("hello there"), 2]
    deltas = run(byte_tokenizer, ids, FinishReason.STOP)
    assert text_of(deltas) == "hello there"
    assert deltas[-1].finish_reason is FinishReason.STOP
    assert [i for delta in deltas for i in delta.token_ids] == ids


def test_a_stop_token_with_text_of_its_own_is_not_shown(byte_tokenizer):
    ids = byte_tokenizer.encode("hello there")
    expected = byte_tokenizer.decode(ids[:-1])
    assert text_of(run(byte_tokenizer, ids, FinishReason.STOP)) == expected


def test_at_the_length_limit_the_last_token_is_shown(byte_tokenizer):
    deltas = run(byte_tokenizer, byte_tokenizer.encode("hello there"), FinishReason.LENGTH)
    assert text_of(deltas) == "hello there"
    assert deltas[-1].finish_reason is FinishReason.LENGTH


def test_a_stop_string_ends_the_sample_and_later_events_change_nothing(byte_tokenizer):
    ids = byte_tokenizer.encode("one two three")
    sample = SampleText(byte_tokenizer, SamplingParams(stop=("tw",)))
    deltas = [sample.push(event(i)) for i in ids]
    ended = [delta.finish_reason for delta in deltas].index(FinishReason.STOP)
    assert text_of(deltas) == "one "
    assert sample.num_tokens == ended + 1
    assert all(delta == TextDelta() for delta in deltas[ended + 1 :])
    assert sample.push(event(None, FinishReason.CANCELLED)) == TextDelta()
    assert sample.finish_reason is FinishReason.STOP


def test_text_held_back_for_a_stop_string_comes_at_the_end(byte_tokenizer):
    deltas = run(
        byte_tokenizer, byte_tokenizer.encode("ab<e"), FinishReason.LENGTH, stop=("<end>",)
    )
    assert text_of(deltas) == "ab<e"


def test_cancelling_gives_out_what_was_held_back(byte_tokenizer):
    sample = SampleText(byte_tokenizer, SamplingParams(stop=("lo there",)))
    text = "".join(sample.push(event(i)).text for i in byte_tokenizer.encode("hello"))
    last = sample.push(event(None, FinishReason.CANCELLED))
    assert text + last.text == "hello"
    assert last.finish_reason is FinishReason.CANCELLED
    assert sample.num_tokens == len(byte_tokenizer.encode("hello"))


def test_an_error_reaches_the_caller(byte_tokenizer):
    sample = SampleText(byte_tokenizer, SamplingParams())
    delta = sample.push(event(None, FinishReason.ERROR, error="the step failed"))
    assert (delta.finish_reason, delta.error) == (FinishReason.ERROR, "the step failed")


def test_logprob_offsets_point_at_the_tokens_text(byte_tokenizer):
    text = "naïve 🙂 x"
    ids = byte_tokenizer.encode(text)
    deltas = run(byte_tokenizer, ids, FinishReason.LENGTH, logprobs=True)
    entries = [entry for delta in deltas for entry in delta.logprobs]
    assert [entry.chosen.token_id for entry in entries] == ids
    assert b"".join(entry.chosen.data for entry in entries).decode() == text
    before = b""
    for entry in entries:
        assert entry.offset == len(before.decode(errors="ignore"))
        before += entry.chosen.data
    assert entries[0].top[1].logprob == -1.5


def test_tokens_of_a_stop_string_have_no_logprobs(byte_tokenizer):
    ids = byte_tokenizer.encode("one  STOP")
    deltas = run(byte_tokenizer, ids, FinishReason.LENGTH, logprobs=True, stop=("STOP",))
    entries = [entry for delta in deltas for entry in delta.logprobs]
    shown = text_of(deltas)
    assert shown == "one  "
    assert entries
    assert all(entry.offset < len(shown) for entry in entries)


def test_output_goes_on_from_the_prompt(spiece_tokenizer):
    ids = spiece_tokenizer.encode("the", add_special_tokens=False)
    assert text_of(run(spiece_tokenizer, ids, FinishReason.LENGTH)) == " the"
