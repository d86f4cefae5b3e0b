"""Tools on /v1/responses: what the model is shown, which items and events come, what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import openai
import pytest
from asgi_client import AsgiClient
from fake_source import PlainTemplate, make_service
from live_server import LiveServer
from obedient_source import ObedientSource
from openai import pydantic_function_tool
from openai.types.responses import Response
from pydantic import BaseModel

from legato.server.app import create_app
from legato.server.response_models import ResponseDocument, ResponseEvent
from legato.server.settings import ServerSettings

PATH = "/v1/responses"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Bonn", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
TIME = {"type": "function", "name": "time", "strict": False}
BODY = {"input": "weather?", "tools": [WEATHER, TIME]}
SAID = (
    'I look. <tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
)
NAMED = {"type": "function", "name": "weather"}


@pytest.fixture
def source() -> ObedientSource:
    return ObedientSource(reply=SAID)


@pytest.fixture
def app(source):
    service = make_service(source, template=PlainTemplate(), max_context=4_000)
    return create_app(service, ServerSettings())


@pytest.fixture
def client(app) -> AsgiClient:
    return AsgiClient(app)


@pytest.fixture
def live(app):
    with LiveServer(app) as live:
        yield live


def ask(client, **fields) -> Response:
    answer = client.post(PATH, {**BODY, **fields})
    assert answer.status == 200, answer.body
    ResponseDocument.model_validate(answer.json())
    return Response.model_validate(answer.json())


def events_of(client, **fields):
    answer = client.post(PATH, {**BODY, **fields, "stream": True})
    blocks = answer.body.decode().split("\n\n")[:-1]
    events = [json.loads(block.split("\ndata: ")[1]) for block in blocks]
    for number, event in enumerate(events):
        ResponseEvent.model_validate(event)
        assert event["sequence_number"] == number
    return events


def test_calls_in_the_text_become_items(client):
    answer = ask(client)
    message, weather, time = answer.output
    assert message.content[0].text == "I look."
    assert (weather.name, json.loads(weather.arguments)) == ("weather", {"city": "Bonn"})
    assert (time.type, time.name, time.arguments) == ("function_call", "time", "{}")
    assert {item.status for item in answer.output} == {"completed"}
    assert len({weather.call_id, time.call_id, weather.id, time.id}) == 4


def test_an_answer_repeats_its_tools(client):
    answer = ask(client, tool_choice="auto", parallel_tool_calls=False)
    assert [(tool.name, tool.strict) for tool in answer.tools] == [
        ("weather", False),
        ("time", False),
    ]
    assert (answer.tool_choice, answer.parallel_tool_calls) == ("auto", False)
    plain = ask(client, tools=[], tool_choice="auto")
    assert (plain.tools, plain.tool_choice, plain.parallel_tool_calls) == ([], "auto", True)


def test_a_stream_is_the_official_sequence_of_events(client):
    events = events_of(client)
    kinds = [event["type"].removeprefix("response.") for event in events]
    order = [kind for i, kind in enumerate(kinds) if not i or kinds[i - 1] != kind]
    call = ("output_item.added", "function_call_arguments.delta")
    call += ("function_call_arguments.done", "output_item.done")
    assert order == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done"),
        *call,
        *call,
        "completed",
    ]
    final = events[-1]["response"]["output"]
    for index, item in enumerate(final):
        own = [e for e in events if e.get("output_index") == index]
        assert own[-1]["item"] == item
        if item["type"] == "function_call":
            assert "".join(e.get("delta") or "" for e in own) == item["arguments"]
            assert all(e["item_id"] == item["id"] for e in own if "item_id" in e)
    assert kinds.count("function_call_arguments.delta") > 10


def test_document_and_stream_say_the_same(client):
    def plain(items):
        return [{k: v for k, v in item.items() if k not in ("id", "call_id")} for item in items]

    document = client.post(PATH, BODY).json()
    assert plain(events_of(client)[-1]["response"]["output"]) == plain(document["output"])


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_cut_off_within_a_call_is_incomplete(client, stream):
    fields = {"max_output_tokens": SAID.index("Bonn")}
    if stream:
        last = events_of(client, **fields)[-1]
        assert last["type"] == "response.incomplete"
        output = last["response"]["output"]
    else:
        output = client.post(PATH, {**BODY, **fields}).json()["output"]
    assert [item["status"] for item in output] == ["completed", "incomplete"]
    assert output[-1]["arguments"] == '{"city": "'


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_are_those_of_the_text(client, stream):
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
    if stream:
        output = events_of(client, **fields)[-1]["response"]["output"]
    else:
        output = client.post(PATH, {**BODY, **fields}).json()["output"]
    entries = output[0]["content"][0]["logprobs"]
    assert "".join(entry["token"] for entry in entries).startswith("I look.")
    assert all(len(entry["top_logprobs"]) == 1 for entry in entries)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"weather", "time"}),
        (NAMED, {"weather"}),
        ({"type": "allowed_tools", "mode": "required", "tools": [NAMED]}, {"weather"}),
    ],
    ids=["required", "named", "allowed"],
)
def test_calls_are_prescribed_where_they_must_come(client, source, choice, names):
    calls = ask(client, tool_choice=choice).output
    assert {call.type for call in calls} == {"function_call"}
    assert {call.name for call in calls} <= names
    for call in calls:
        assert call.name == "time" or json.loads(call.arguments)["city"] in ("Bonn", "Rome")


def test_a_function_that_does_not_say_is_held_to_its_schema(client, source):
    """As OpenAI has it: on /v1/responses functions are strict unless they say otherwise."""
    unsaid = {k: v for k, v in WEATHER.items() if k != "strict"}
    assert ask(client, tools=[unsaid]).tools[0].strict is True
    assert source.requests[-1].constraint is not None
    ask(client)
    assert source.requests[-1].constraint is None
    beyond = {**SCHEMA, "not": {"type": "null"}}
    ask(client, tools=[{**unsaid, "parameters": beyond}])  # as far as it can be enforced
    refused = client.post(
        PATH, {**BODY, "tools": [{**unsaid, "parameters": beyond, "strict": True}]}
    )
    assert (refused.status, refused.error["param"]) == (400, "tools[0].parameters")


def test_tool_choice_none_offers_nothing(client, source):
    answer = ask(client, tool_choice="none")
    assert answer.output_text == SAID
    assert b"weather" not in bytes(source.requests[-1].prompt).replace(b"weather?", b"")


CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
USER = {"role": "user", "content": "weather?"}


def test_calls_and_their_results_become_turns(client, source):
    part = {"type": "input_text", "text": "noon"}
    other = {**CALL, "call_id": "c2", "name": "time", "id": "fc_1", "status": "completed"}
    items = [USER, {"role": "assistant", "content": "I look."}, CALL, other, RESULT]
    items.append({"type": "function_call_output", "call_id": "c2", "output": [part, part]})
    ask(client, input=items)
    _, looked, prompt = bytes(source.requests[-1].prompt).decode().partition("I look.")
    assert looked
    places = ['{"name": "weather"', '{"name": "time"', "rain", "noonnoon"]
    assert sorted(map(prompt.index, places)) == list(map(prompt.index, places))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{**TIME, "function": {}}]}, "tools[0].function"),
        ({"tools": [TIME, TIME]}, "tools[1].name"),
        ({"tools": [{**TIME, "parameters": {"type": "string"}}]}, "tools[0].parameters"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "no"}}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "time"}}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"input": [USER, RESULT]}, "input"),
        ({"input": [USER, CALL]}, "input"),
        ({"input": [USER, CALL, RESULT, RESULT]}, "input"),
        ({"input": [USER, {**CALL, "arguments": "x"}]}, "input[1].arguments"),
        ({"input": [USER, {**CALL, "name": "a b"}]}, "input[1].name"),
        ({"input": [USER, {**CALL, "call_id": ""}]}, "input[1].call_id"),
        ({"input": [USER, {**CALL, "more": 1}]}, "input[1].more"),
        ({"input": [USER, CALL, {**RESULT, "output": 5}]}, "input[2].output"),
        ({"input": [USER, CALL, {**RESULT, "output": [{"type": "x"}]}]}, "input[2].output"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_honoured_is_refused_by_name(client, source, fields, param, stream):
    answer = client.post(PATH, {**BODY, **fields, "stream": stream})
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
    assert source.requests == []


class Weather(BaseModel):
    city: Literal["Bonn", "Rome"]


def api_of(live, kind):
    return kind(base_url=f"{live.url}/v1", api_key="none", max_retries=0)


TOOL = {"type": "function", "name": "Weather", "parameters": Weather.model_json_schema()}


def test_the_openai_client_runs_a_round_of_tools(live, source):
    with api_of(live, openai.OpenAI) as api:
        first = api.responses.create(
            model="tiny", input="weather?", tools=[{**TOOL, "strict": False}],
            tool_choice={"type": "function", "name": "Weather"},
        )  # fmt: skip
        (call,) = first.output
        assert json.loads(call.arguments)["city"] in ("Bonn", "Rome")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
        items = [{"role": "user", "content": "weather?"}, *first.output, result]
        last = api.responses.create(model="tiny", input=items)
    assert last.output_text == source.reply


def test_the_openai_client_parses_calls(live):
    with api_of(live, openai.OpenAI) as api:
        nested = pydantic_function_tool(Weather)["function"]
        parsed = api.responses.parse(
            model="tiny", input="weather?", tools=[{"type": "function", **nested}],
            tool_choice="required",
        )  # fmt: skip
    assert all(call.parsed_arguments["city"] in ("Bonn", "Rome") for call in parsed.output)


def test_the_openai_client_streams_calls(live):
    with (
        api_of(live, openai.OpenAI) as api,
        api.responses.stream(
            model="tiny", input="weather?", tools=[{**TOOL, "strict": True}], tool_choice="required"
        ) as stream,
    ):
        events = list(stream)
        final = stream.get_final_response()
    deltas = [e for e in events if e.type == "response.function_call_arguments.delta"]
    whole = [e.arguments for e in events if e.type == "response.function_call_arguments.done"]
    assert "".join(e.delta for e in deltas) == "".join(whole)
    assert [call.arguments for call in final.output] == whole


def test_the_async_openai_client_streams_calls(live):
    async def scenario():
        async with api_of(live, openai.AsyncOpenAI) as api:
            stream = await api.responses.create(
                model="tiny", input="hi", tools=[{**TOOL, "strict": False}], stream=True,
                tool_choice="required", parallel_tool_calls=False,
            )  # fmt: skip
            return [event async for event in stream]

    events = asyncio.run(scenario())
    (done,) = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert json.loads(done.arguments)["city"] in ("Bonn", "Rome")
    assert events[-1].type == "response.completed"


def test_a_failure_in_a_stream_reaches_the_client(live, source):
    async def fail(number):
        if number == 20:
            raise RuntimeError("secret")

    source.before = fail
    with api_of(live, openai.OpenAI) as api:
        events = list(api.responses.create(
            model="tiny", input="hi", tools=[{**TOOL, "strict": False}], stream=True,
        ))  # fmt: skip
    assert events[-1].type == "response.failed"
    assert "secret" not in events[-1].response.error.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_form_and_tools_go_together(client, stream):
    form = {"type": "json_schema", "name": "n", "schema": {"type": "integer"}}
    fields = {"text": {"format": form}, "tools": [WEATHER]}
    if stream:
        output = events_of(client, **fields)[-1]["response"]["output"]
    else:
        output = client.post(PATH, {**BODY, **fields}).json()["output"]
    for item in output:
        if item["type"] == "message":
            assert isinstance(json.loads(item["content"][0]["text"]), int)
        else:
            assert json.loads(item["arguments"])["city"] in ("Bonn", "Rome")
