import json

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service
from openai.types.responses import Response

from legato.server.app import create_app
from legato.server.response_models import ResponseDocument, ResponseEvent
from legato.server.settings import ServerSettings

PATH = "/v1/responses"
BODY = {"model": "tiny", "input": "hi"}


def events_of(answer):
    """The data of every event, each checked to be named as its type says."""
    blocks = answer.body.decode().split("\n\n")
    assert blocks.pop() == ""
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def test_an_answer_is_one_message(client):
    answer = client.post(PATH, {**BODY, "metadata": {"a": "b"}, "user": "u"})
    assert answer.status == 200
    ResponseDocument.model_validate(answer.json())
    response = Response.model_validate(answer.json())
    assert response.output_text == "Hello, world"
    assert response.status == "completed"
    assert response.usage.input_tokens == len("user: hi\nassistant:")
    assert response.usage.output_tokens == len("Hello, world") + 1
    assert response.metadata == {"a": "b"}
    assert response.store is False


def test_instructions_and_items_become_turns(client, source):
    earlier = client.post(PATH, BODY).json()["output"][0]
    part = {"type": "input_text", "text": "c"}
    items = [{"role": "user", "content": "a"}, earlier, {"role": "user", "content": [part, part]}]
    assert client.post(PATH, {"input": items, "instructions": "Be brief."}).status == 200
    prompt = bytes(source.requests[-1].prompt).decode()
    expected = "system: Be brief.\nuser: a\nassistant: Hello, world\nuser: cc\nassistant:"
    assert prompt == expected


def test_a_stream_is_the_official_sequence_of_events(client):
    events = events_of(client.post(PATH, {**BODY, "stream": True}))
    for number, event in enumerate(events):
        ResponseEvent.model_validate(event)
        assert event["sequence_number"] == number
    kinds = [event["type"].removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *["output_text.delta"] * deltas,
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    text = "".join(e["delta"] for e in events if "delta" in e)
    assert text == "Hello, world" == events[-4]["text"]
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == text
    assert len({e["item_id"] for e in events if "item_id" in e}) == 1


def test_an_answer_that_is_cut_off_is_incomplete(client):
    body = {**BODY, "max_output_tokens": 3}
    document = client.post(PATH, body).json()
    assert document["status"] == "incomplete"
    assert document["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events_of(client.post(PATH, {**body, "stream": True}))[-1]["type"] == (
        "response.incomplete"
    )


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_come_where_they_are_included(client, stream):
    body = {**BODY, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    answer = client.post(PATH, {**body, "stream": stream})
    last = events_of(answer)[-1]["response"] if stream else answer.json()
    entries = last["output"][0]["content"][0]["logprobs"]
    assert "".join(entry["token"] for entry in entries) == "Hello, world"
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)


def test_a_failure_in_a_stream_is_its_last_event(source, client):
    async def fail(number):
        if number == 3:
            raise RuntimeError("secret")

    source.before = fail
    answer = client.post(PATH, {**BODY, "stream": True})
    last = events_of(answer)[-1]
    assert last["type"] == "response.failed"
    assert Response.model_validate(last["response"]).error.code == "server_error"
    assert b"secret" not in answer.body


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"store": True}, "store"),
        ({"store": 0}, "store"),
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"tools": "f"}, "tools"),
        ({"max_tool_calls": 2}, "max_tool_calls"),
        ({"reasoning": {"effort": "low"}}, "reasoning"),
        ({"truncation": "auto"}, "truncation"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": True}}, "stream_options.x"),
        ({"min_tokens": 9, "max_output_tokens": 8}, "min_tokens"),
        ({"n": 2}, "n"),
        ({"max_tokens": 2}, "max_tokens"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "reasoning", "role": "user", "content": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "text"}]}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [
            {"type": "output_text", "text": "x", "annotations": [1]}]}]}, "input[0].content"),
        ({"input": "x" * 300}, "input"),
        ({"input": "template fault"}, "input"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(client, source, extra, param):
    answer = client.post(PATH, {**BODY, **extra})
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
    assert source.requests == []


def test_a_model_without_a_template_answers_no_input():
    service = make_service(FakeSource(), template=None)
    answer = AsgiClient(create_app(service, ServerSettings())).post(PATH, BODY)
    assert (answer.status, answer.error["param"]) == (400, "input")
