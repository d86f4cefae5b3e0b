"""The real client of OpenAI against a real HTTP server."""

import asyncio
import threading
from collections.abc import Iterator

import openai
import pytest

from legato.errors import OverloadedError


@pytest.fixture
def api(live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as api:
        yield api


def ask(api, **fields):
    return api.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hi"}], **fields
    )


def test_a_chat_is_answered_with_usage_and_timing(api):
    answer = ask(api, n=2, seed=7, temperature=0.5, user="someone")
    assert [choice.message.content for choice in answer.choices] == ["Hello, world"] * 2
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.legato["timing"]["ttft_ms"] > 0
    assert answer._request_id


def test_the_chunks_of_a_chat_are_its_answer_and_end_with_usage(api):
    chunks = list(ask(api, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Hello, world"
    assert chunks[-1].usage.completion_tokens == 13


def test_log_probabilities_come_with_the_alternatives_asked_for(api):
    answer = ask(api, logprobs=True, top_logprobs=3, max_completion_tokens=2)
    content = answer.choices[0].logprobs.content
    assert [entry.token for entry in content] == ["H", "e"]
    assert len(content[0].top_logprobs) == 3


def test_a_stop_string_ends_the_answer(api):
    assert ask(api, stop=["wor"]).choices[0].message.content == "Hello, "


def test_completions_of_several_prompts_and_their_stream_are_read(api):
    answer = api.completions.create(model="tiny", prompt=["a", "b"], logprobs=1, max_tokens=3)
    assert [choice.text for choice in answer.choices] == ["Hel", "Hel"]
    assert answer.choices[0].logprobs.tokens == ["H", "e", "l"]
    streamed = api.completions.create(model="tiny", prompt="a", stream=True, max_tokens=3)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "Hel"


def test_an_answer_of_responses_can_be_given_back_as_input(api):
    answer = api.responses.create(model="tiny", input="hi", instructions="Be brief.", store=False)
    assert answer.output_text == "Hello, world"
    again = [*answer.output, {"role": "user", "content": "more"}]
    assert api.responses.create(model="tiny", input=again).usage.output_tokens == 13


def test_the_events_of_responses_are_its_final_text(api):
    with api.responses.stream(model="tiny", input="hi") as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == "Hello, world"


def test_embeddings_are_equal_in_base64_and_as_numbers(api):
    answer = api.embeddings.create(model="tiny", input=["a", "b"])  # asks for base64 itself
    assert len(answer.data) == 2
    plain = api.embeddings.create(model="tiny", input="a", encoding_format="float")
    assert answer.data[0].embedding == pytest.approx(plain.data[0].embedding)


def test_the_model_is_listed_and_found(api):
    assert [model.id for model in api.models.list()] == ["tiny"]
    assert api.models.retrieve("tiny").id == "tiny"


def test_fields_beyond_openais_reach_the_engine(api, source):
    ask(api, extra_body={"top_k": 5, "min_p": 0.1, "cache_salt": "a"})
    assert source.requests[0].params.top_k == 5


def test_errors_become_the_clients_exceptions(api, source):
    with pytest.raises(openai.NotFoundError) as missing:
        api.chat.completions.create(model="x", messages=[{"role": "user", "content": "hi"}])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        ask(api, temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as long:
        api.completions.create(model="tiny", prompt="x" * 1000)
    assert long.value.code == "context_length_exceeded"
    source.refusal = OverloadedError("full", 1)
    with pytest.raises(openai.InternalServerError) as full:
        ask(api, stream=True)
    assert full.value.status_code == 503


def test_a_failure_in_a_stream_reaches_the_reader(api, source):
    async def fail(number):
        if number == 3:
            raise RuntimeError

    source.before = fail
    with pytest.raises(openai.APIError):
        list(ask(api, stream=True))


@pytest.mark.parametrize("reads", [0, 2])
def test_closing_a_stream_cancels_the_request(api, source, reads):
    cancelled = threading.Event()

    class Recording(list):
        def append(self, item):
            super().append(item)
            cancelled.set()

    async def hang(number):
        if number == 5:
            await asyncio.Event().wait()

    source.cancelled = Recording()
    source.before = hang
    stream = ask(api, stream=True)
    for _ in range(reads):
        next(stream)
    stream.close()
    assert cancelled.wait(5)
