"""Tools over HTTP: what the model is shown, what the client gets, what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import openai
import pytest
from asgi_client import AsgiClient
from fake_source import PlainTemplate, make_service
from live_server import LiveServer
from obedient_source import ObedientSource
from openai import pydantic_function_tool
from pydantic import BaseModel

from legato.server.answer_models import ChatCompletion, ChatCompletionChunk
from legato.server.app import create_app
from legato.server.settings import ServerSettings
from legato.tools.dialect import LLAMA, ToolStyle

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "weather?"}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Bonn", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
BODY = {"messages": [USER], "tools": [WEATHER, TIME]}
SAID = (
    'I look. <tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
)


@dataclass
class ToolTemplate(PlainTemplate):
    """Knows tools, and remembers what it was given."""

    given: list[tuple[Any, Any]] = field(default_factory=list)

    def render(self, messages: Any, *, tools: Any = None) -> str:
        self.given.append((messages, tools))
        return "prompt"


@pytest.fixture
def source() -> ObedientSource:
    return ObedientSource()


@pytest.fixture
def template() -> ToolTemplate:
    return ToolTemplate()


def app_of(source, template, **changes):
    service = make_service(source, template=template, max_context=4_000, **changes)
    return create_app(service, ServerSettings())


@pytest.fixture
def client(source, template) -> AsgiClient:
    return AsgiClient(app_of(source, template))


@pytest.fixture
def api(source, template):
    with (
        LiveServer(app_of(source, template)) as live,
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as api,
    ):
        yield api


def ask(client, **fields) -> dict[str, Any]:
    answer = client.post(CHAT, {**BODY, **fields})
    assert answer.status == 200, answer.body
    ChatCompletion.model_validate(answer.json())
    return answer.json()["choices"][0]


def calls_of(choice) -> list[tuple[str, Any]]:
    calls = choice["message"].get("tool_calls") or []
    assert len({call["id"] for call in calls}) == len(calls)
    return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]


def test_calls_in_the_text_become_tool_calls(client, source):
    source.reply = SAID
    choice = ask(client)
    assert calls_of(choice) == [("weather", {"city": "Bonn"}), ("time", {})]
    assert choice["message"]["content"] == "I look."
    assert choice["finish_reason"] == "tool_calls"


def test_an_answer_without_calls_is_text(client, source):
    source.reply = "It <tool rains.\n"
    choice = ask(client)
    assert choice["message"] == {"role": "assistant", "content": source.reply, "refusal": None}
    assert choice["finish_reason"] == "stop"


def test_an_answer_that_only_calls_has_no_content(client, source):
    source.reply = SAID.removeprefix("I look. ")
    assert ask(client)["message"]["content"] is None


def test_an_answer_cut_off_within_a_call_says_so(client, source):
    source.reply = SAID
    choice = ask(client, max_tokens=SAID.index("Bonn"))
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "'


@pytest.mark.parametrize("logprobs", [False, True])
def test_streams_carry_calls_as_openai_does(client, source, logprobs):
    source.reply = SAID
    answer = client.post(CHAT, {**BODY, "stream": True, "logprobs": logprobs})
    chunks = answer.events()[:-1]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["delta"].get("content") or "" for c in choices) == "I look."
    parts = [call for c in choices for call in c["delta"].get("tool_calls", ())]
    begins = [part for part in parts if "id" in part]
    assert [(b["index"], b["type"], b["function"]) for b in begins] == [
        (0, "function", {"name": "weather", "arguments": ""}),
        (1, "function", {"name": "time", "arguments": ""}),
    ]
    texts = ["".join(p["function"]["arguments"] for p in parts if p["index"] == i) for i in (0, 1)]
    assert list(map(json.loads, texts)) == [{"city": "Bonn"}, {}]
    assert len(parts) > 6
    assert choices[-1]["finish_reason"] == "tool_calls"
    entries = [entry for c in choices for entry in (c["logprobs"] or {}).get("content", ())]
    assert len(entries) == (len(SAID) if logprobs else 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("parallel", [False, None])
def test_required_calls_are_prescribed(client, source, stream, parallel):
    fields = {"tool_choice": "required", "parallel_tool_calls": parallel}
    if stream:
        assert (
            b'"finish_reason": "tool_calls"'
            in client.post(CHAT, {**BODY, "stream": True, **fields}).body
        )
        return
    choice = ask(client, **fields)
    assert choice["finish_reason"] == "tool_calls"
    for name, arguments in calls_of(choice):
        assert name == "time" or arguments["city"] in SCHEMA["properties"]["city"]["enum"]
    assert parallel is None or len(calls_of(choice)) == 1


def test_a_named_function_is_called_once_in_every_sample(client):
    answer = client.post(
        CHAT,
        {**BODY, "n": 3, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    )
    for choice in answer.json()["choices"]:
        ((name, arguments),) = calls_of(choice)
        assert (name, set(arguments)) == ("weather", {"city"})


def test_strict_functions_prescribe_their_arguments_only_where_they_are_called(client, source):
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    ask(client, tools=[strict])
    assert source.requests[-1].constraint is not None
    ask(client)
    assert source.requests[-1].constraint is None


def test_tool_choice_none_offers_nothing(client, source, template):
    source.reply = SAID
    choice = ask(client, tool_choice="none")
    assert choice["message"]["content"] == SAID
    assert template.given == [([USER], None)]


def test_a_form_and_tools_go_together(client):
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    choice = ask(client, response_format=schema)
    assert calls_of(choice) or isinstance(json.loads(choice["message"]["content"]), int)


HISTORY = [
    USER,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Bonn"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]


def test_a_template_without_tools_gets_them_in_words(client, template):
    ask(client, messages=HISTORY)
    ((messages, tools),) = template.given
    assert tools is None
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert '"name": "weather"' in messages[0]["content"]
    assert "<tool_call>" in messages[2]["content"]
    assert "rain" in messages[3]["content"]


def test_a_template_with_tools_gets_them_as_they_are(source, template):
    client = AsgiClient(app_of(source, template, tools=ToolStyle(LLAMA, native=True)))
    source.reply = '{"name": "weather", "parameters": {"city": "Rome"}}'
    assert calls_of(ask(client, messages=HISTORY)) == [("weather", {"city": "Rome"})]
    ((messages, tools),) = template.given
    assert [tool["function"]["name"] for tool in tools] == ["weather", "time"]
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Bonn"}
    assert messages[2] == HISTORY[2]


def call(arguments: str) -> list[dict[str, Any]]:
    function = {"name": "f", "arguments": arguments}
    return [{"id": "c", "type": "function", "function": function}]


BAD = {
    "tools": [({"tools": []}, "tools"), ({"tools": [{"type": "x"}]}, "tools[0].type")],
    "schema": [
        (
            {"tool_choice": "required", "tools": [TIME, {"type": "function", "function": {
                "name": "f", "strict": True,
                "parameters": {"properties": {"a": {"type": "strin"}}}}}]},
            "tools[1].function.parameters",
        ),
    ],
    "choice": [
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
        ({"tools": None, "tool_choice": "auto"}, "tool_choice"),
        ({"tools": None, "parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"guided_regex": "a"}, "guided_regex"),
    ],
    "messages": [
        ({"messages": [{"role": "assistant", "tool_calls": call(arguments)}]},
         "messages[0].tool_calls[0].function.arguments")
        for arguments in ("", "x", "[]", "5", "[" * 100_000, '{"a":' * 200 + "1" + "}" * 200)
    ] + [
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": []}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]},
         "messages[0].tool_calls[0].id"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": call("{}")}]},
         "messages[0].tool_calls"),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "c", "content": "x"}]},
         "messages[1]"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_honoured_is_refused_by_name(client, source, kind, stream):
    for fields, param in BAD[kind]:
        answer = client.post(CHAT, {**BODY, "stream": stream, **fields})
        assert (answer.status, answer.error["param"]) == (400, param), fields
    assert source.requests == []


class Weather(BaseModel):
    city: Literal["Bonn", "Rome"]


def test_the_openai_client_runs_a_round_of_tools(api, source):
    tools = [pydantic_function_tool(Weather)]
    answer = api.chat.completions.parse(
        model="tiny", messages=[USER], tools=tools, tool_choice="required",
        parallel_tool_calls=False,
    )  # fmt: skip
    message = answer.choices[0].message
    (asked,) = message.tool_calls
    assert isinstance(asked.function.parsed_arguments, Weather)
    result = {"role": "tool", "tool_call_id": asked.id, "content": "sun"}
    history = [USER, message.model_dump(exclude={"parsed"}), result]
    for called in history[1]["tool_calls"]:
        called["function"].pop("parsed_arguments")
    last = api.chat.completions.create(model="tiny", messages=history)
    assert last.choices[0].message.content == source.reply


def test_the_openai_client_streams_tools(api):
    with api.chat.completions.stream(
        model="tiny", messages=[USER], tools=[pydantic_function_tool(Weather)],
        tool_choice={"type": "function", "function": {"name": "Weather"}},
    ) as stream:  # fmt: skip
        events = list(stream)
        final = stream.get_final_completion().choices[0]
    assert any(event.type == "tool_calls.function.arguments.delta" for event in events)
    assert final.finish_reason == "tool_calls"
    (called,) = final.message.tool_calls
    assert isinstance(called.function.parsed_arguments, Weather)


@pytest.mark.parametrize("logprobs", [False, True])
def test_a_stream_of_several_samples_that_call_ends_with_the_usage_of_all(client, logprobs):
    fields = {"n": 2, "tool_choice": "required", "parallel_tool_calls": False, "seed": 1}
    whole = client.post(CHAT, {**BODY, **fields, "logprobs": logprobs}).json()
    body = {**BODY, **fields, "logprobs": logprobs, "stream": True}
    chunks = client.post(CHAT, {**body, "stream_options": {"include_usage": True}}).events()[:-1]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], whole["usage"])
    ends = [c["choices"][0] for c in chunks[:-1] if c["choices"][0]["finish_reason"]]
    reasons = {end["index"]: end["finish_reason"] for end in ends}
    assert reasons == {0: "tool_calls", 1: "tool_calls"}
    for index, choice in enumerate(whole["choices"]):
        own = [c["choices"][0] for c in chunks[:-1] if c["choices"][0]["index"] == index]
        calls = [call for c in own for call in c["delta"].get("tool_calls", ())]
        arguments = "".join(call["function"]["arguments"] for call in calls)
        assert arguments == choice["message"]["tool_calls"][0]["function"]["arguments"]
        entries = [e for c in own for e in (c["logprobs"] or {}).get("content", ())]
        assert len(entries) == len((choice["logprobs"] or {"content": ()})["content"])
        assert bool(entries) == logprobs
