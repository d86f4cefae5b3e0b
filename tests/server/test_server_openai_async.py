"""The real asynchronous client of OpenAI: many calls at once over one connection pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import openai
import pytest
from fake_source import PlainTemplate, make_service
from live_server import LiveServer
from obedient_source import ObedientSource
from openai import pydantic_function_tool
from pydantic import BaseModel

from legato.errors import OverloadedError
from legato.server.app import create_app
from legato.server.settings import ServerSettings

USER: Any = {"role": "user", "content": "hi"}
REPLY = "Hello, world"


class Weather(BaseModel):
    city: Literal["Bonn", "Rome"]


@pytest.fixture
def source() -> ObedientSource:
    return ObedientSource()


@pytest.fixture
def run(source):
    """Runs a scenario with a client of a live server."""
    service = make_service(source, template=PlainTemplate(), max_context=4_000)

    async def with_client(scenario: Callable[[openai.AsyncOpenAI], Awaitable[Any]]) -> Any:
        async with openai.AsyncOpenAI(
            base_url=f"{live.url}/v1", api_key="none", max_retries=0
        ) as api:
            return await scenario(api)

    with LiveServer(create_app(service, ServerSettings())) as live:
        yield lambda scenario: asyncio.run(with_client(scenario))


def test_many_answers_and_streams_at_once(run):
    async def streamed(api) -> str:
        stream = await api.chat.completions.create(model="tiny", messages=[USER], stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    async def whole(api) -> str:
        answer = await api.completions.create(model="tiny", prompt="a", max_tokens=50)
        return answer.choices[0].text

    async def response(api) -> str:
        async with api.responses.stream(model="tiny", input="hi") as stream:
            return (await stream.get_final_response()).output_text

    async def scenario(api):
        calls = [kind(api) for kind in (streamed, whole, response) for _ in range(8)]
        return await asyncio.gather(*calls)

    assert run(scenario) == [REPLY] * 24


def test_tools_in_every_sample(run):
    async def scenario(api):
        return await api.chat.completions.create(
            model="tiny", messages=[USER], n=3, tools=[pydantic_function_tool(Weather)],
            tool_choice="required", parallel_tool_calls=False, logprobs=True,
        )  # fmt: skip

    answer = run(scenario)
    assert len(answer.choices) == 3
    for choice in answer.choices:
        (call,) = choice.message.tool_calls
        assert Weather.model_validate_json(call.function.arguments)
        assert choice.finish_reason == "tool_calls"
        assert choice.logprobs.content
    assert answer.usage.completion_tokens > 0
    assert answer.system_fingerprint


def test_a_model_is_parsed_whole_and_from_a_stream(run):
    async def scenario(api):
        parsed = await api.chat.completions.parse(
            model="tiny", messages=[USER], response_format=Weather, logprobs=True, seed=3
        )
        async with api.chat.completions.stream(
            model="tiny", messages=[USER], response_format=Weather,
            stream_options={"include_usage": True},
        ) as stream:  # fmt: skip
            async for _ in stream:
                pass
            return parsed, await stream.get_final_completion()

    for answer in run(scenario):
        assert answer.choices[0].message.parsed.city in ("Bonn", "Rome")
        assert answer.usage.completion_tokens > 0


def test_embeddings_at_once_are_all_answered(run):
    async def scenario(api):
        calls = [api.embeddings.create(model="tiny", input=f"text {i}") for i in range(8)]
        return await asyncio.gather(*calls)

    assert all(len(answer.data[0].embedding) == 2 for answer in run(scenario))


def test_errors_become_the_clients_exceptions(run, source):
    async def scenario(api):
        with pytest.raises(openai.BadRequestError) as bad:
            await api.chat.completions.create(model="tiny", messages=[USER], temperature=9)
        assert (bad.value.param, bad.value.type) == ("temperature", "invalid_request_error")
        with pytest.raises(openai.NotFoundError):
            await api.responses.create(model="nobody", input="hi")
        source.refusal = OverloadedError("full", 1)
        with pytest.raises(openai.InternalServerError) as full:
            await api.chat.completions.create(model="tiny", messages=[USER], stream=True)
        assert full.value.status_code == 503
        assert full.value.response.headers["retry-after"] == "1"

    run(scenario)


def test_leaving_a_stream_cancels_the_request(run, source):
    async def scenario(api):
        stream = await api.chat.completions.create(
            model="tiny", messages=[USER], stream=True, max_tokens=2000
        )
        await anext(aiter(stream))
        await stream.close()
        await asyncio.to_thread(cancelled.wait, 5)

    cancelled = threading.Event()

    class Recording(list):
        def append(self, item: Any) -> None:
            super().append(item)
            cancelled.set()

    async def hang(number: int) -> None:
        if number == 5:
            await asyncio.Event().wait()

    source.before, source.cancelled = hang, Recording()
    run(scenario)
    assert source.cancelled == [source.requests[0].id]
