import asyncio
import time

import pytest
from asgi_client import AsgiClient
from fake_source import make_service

from legato.server.answer_models import ChatCompletion, ChatCompletionChunk
from legato.server.app import create_app
from legato.server.settings import ServerSettings

PATH = "/v1/chat/completions"


def stream_text(events, index=0):
    """Content of one choice of a chat stream."""
    choices = [choice for event in events[:-1] for choice in event["choices"]]
    return "".join(c["delta"].get("content", "") for c in choices if c["index"] == index)


def test_an_answer_has_text_usage_and_timing(client, source, chat_body):
    answer = client.post(PATH, chat_body)
    document = ChatCompletion.model_validate(answer.json())
    assert answer.status == 200
    assert document.choices[0].message.content == "Hello, world"
    assert document.choices[0].finish_reason == "stop"
    assert document.usage.prompt_tokens == len("user: hi\nassistant:")
    assert document.usage.completion_tokens == len("Hello, world") + 1
    timing = document.legato.timing
    assert timing.ttft_ms is not None
    assert timing.total_ms is not None
    assert 0 < timing.ttft_ms <= timing.total_ms


def test_the_template_renders_the_turns_and_developer_means_system(client, source, chat_body):
    chat_body["messages"] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    assert client.post(PATH, chat_body).status == 200
    prompt = bytes(source.requests[0].prompt).decode()
    assert prompt == "system: Be brief.\nuser: ab\nassistant: c\nuser: d\nassistant:"


def test_the_engine_is_told_when_a_call_came(client, source, chat_body):
    before = time.monotonic_ns()
    client.post(PATH, chat_body)
    assert before <= source.requests[0].arrived_ns <= time.monotonic_ns()


def test_a_stream_gives_role_then_text_then_finish_then_done(client, chat_body):
    events = client.post(PATH, {**chat_body, "stream": True}).events()
    chunks = [ChatCompletionChunk.model_validate(event) for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert stream_text(events) == "Hello, world"
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].legato is not None
    assert all(chunk.usage is None for chunk in chunks)


def test_the_role_comes_together_with_the_first_token(client, source, chat_body):
    call = client.start_post(PATH, {**chat_body, "stream": True})
    asyncio.run(call.run())
    assert call.answer.chunks[0].count(b"data: ") == 2
    assert b'"content": "H"' in call.answer.chunks[0]


def test_include_usage_adds_a_last_chunk_without_choices(client, source, chat_body):
    source.cached = 7
    options = {"stream": True, "stream_options": {"include_usage": True}, "n": 2}
    events = client.post(PATH, {**chat_body, **options}).events()
    assert all(event["usage"] is None for event in events[:-2])
    assert events[-2]["choices"] == []
    usage = events[-2]["usage"]
    assert usage["completion_tokens"] == 2 * 13
    assert usage["prompt_tokens_details"] == {"cached_tokens": 7}
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert "ttft_ms" in events[-2]["legato"]["timing"]
    assert all("legato" not in event for event in events[:-2])


@pytest.mark.parametrize("include_usage", [True, False])
def test_continuous_usage_counts_the_tokens_so_far_on_every_chunk(client, chat_body, include_usage):
    options = {"include_usage": include_usage, "continuous_usage_stats": True}
    body = {**chat_body, "stream": True, "stream_options": options}
    events = client.post(PATH, body).events()[:-1]
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == 13
    assert (events[-1]["choices"] == []) == include_usage
    plain = {**body, "stream_options": {"continuous_usage_stats": False}}
    assert all("usage" not in event for event in client.post(PATH, plain).events()[:-1])


def test_n_samples_come_as_choices(client, chat_body):
    whole = client.post(PATH, {**chat_body, "n": 3}).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    events = client.post(PATH, {**chat_body, "n": 3, "stream": True}).events()
    assert [stream_text(events, i) for i in range(3)] == ["Hello, world"] * 3
    assert sum("legato" in event for event in events[:-1]) == 1


@pytest.mark.parametrize("stop", ["wor", ["zzz", "wor"]])
def test_a_stop_string_ends_the_text_before_it_and_cancels_the_rest(
    client, source, chat_body, stop
):
    choice = client.post(PATH, {**chat_body, "stop": stop}).json()["choices"][0]
    assert choice["message"]["content"] == "Hello, "
    assert choice["finish_reason"] == "stop"
    assert source.cancelled == [source.requests[0].id]
    streamed = client.post(PATH, {**chat_body, "stop": stop, "stream": True})
    assert stream_text(streamed.events()) == "Hello, "


def test_a_stop_string_cancels_its_sample_while_siblings_run(client, source, chat_body):
    client.post(PATH, {**chat_body, "stop": "wor", "n": 3})
    request = source.requests[0].id
    assert source.cancelled_samples == [(request, 0), (request, 1)]
    assert source.cancelled == [request]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_ends_with_length(client, chat_body, name):
    choice = client.post(PATH, {**chat_body, name: 5}).json()["choices"][0]
    assert choice["message"]["content"] == "Hello"
    assert choice["finish_reason"] == "length"


def test_a_token_limit_past_the_context_is_capped_to_the_room_left(client, source, chat_body):
    assert client.post(PATH, {**chat_body, "max_tokens": 100_000}).status == 200
    request = source.requests[0]
    assert request.params.max_tokens == 256 - len(request.prompt)


def test_logprobs_of_every_token_streamed_and_whole(client, chat_body):
    asked = {**chat_body, "logprobs": True, "top_logprobs": 2, "max_tokens": 3}
    whole = client.post(PATH, asked).json()["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in whole] == ["H", "e", "l"]
    assert whole[0]["bytes"] == [72]
    assert [top["token"] for top in whole[0]["top_logprobs"]] == ["H", "@"]
    events = client.post(PATH, {**asked, "stream": True}).events()
    streamed = [
        entry
        for event in events[:-1]
        for choice in event["choices"]
        if choice["logprobs"]
        for entry in choice["logprobs"]["content"]
    ]
    assert streamed == whole


def test_half_a_character_waits_for_its_rest(client, source, chat_body):
    source.reply = "né 🎵"
    events = client.post(PATH, {**chat_body, "stream": True}).events()
    assert stream_text(events) == "né 🎵"
    assert "\N{REPLACEMENT CHARACTER}" not in str(events)


def test_every_sampling_field_reaches_the_engine(client, source, chat_body):
    fields = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.2,
        "repetition_penalty": 1.1,
        "seed": 42,
        "min_tokens": 2,
        "ignore_eos": True,
        "n": 2,
    }
    special = {"logit_bias": {"65": -100}, "stop_token_ids": [66], "stop": "x"}
    placed = {"priority": -1, "cache_salt": "tenant-a"}
    assert client.post(PATH, {**chat_body, **fields, **special, **placed}).status == 200
    request = source.requests[0]
    assert {name: getattr(request.params, name) for name in fields} == fields
    assert request.params.logit_bias == {65: -100.0}
    assert request.params.stop_token_ids == (66,)
    assert request.params.stop == ("x",)
    assert (request.priority, request.cache_salt) == (-1, "tenant-a")


def test_metadata_comes_back(client, chat_body):
    answer = client.post(PATH, {**chat_body, "metadata": {"ticket": "17"}}).json()
    assert answer["legato"]["metadata"] == {"ticket": "17"}


def test_a_model_without_template_refuses_chat(source, chat_body):
    client = AsgiClient(create_app(make_service(source, template=None), ServerSettings()))
    answer = client.post(PATH, chat_body)
    assert (answer.status, answer.error["param"]) == (400, "messages")
    assert client.post("/v1/completions", {"model": "tiny", "prompt": "x"}).status == 200
