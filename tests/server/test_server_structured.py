"""Forms of answers over HTTP: what reaches the engine, what is refused, what the client parses."""

from __future__ import annotations

import json
import re
from enum import StrEnum

import openai
import pytest
from fake_source import make_service
from jsonschema import Draft202012Validator
from live_server import LiveServer
from obedient_source import ObedientSource
from pydantic import BaseModel, Field

from legato.server.app import create_app
from legato.server.settings import ServerSettings

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
BASES = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"prompt": "hi", "max_tokens": 200},
}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.fixture
def source() -> ObedientSource:
    return ObedientSource()


@pytest.fixture
def api(source):
    app = create_app(make_service(source, max_context=2_000), ServerSettings())
    with (
        LiveServer(app) as live,
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as api,
    ):
        yield api


def texts(answer) -> list[str]:
    choices = answer.json()["choices"]
    return [c["text"] if "text" in c else c["message"]["content"] for c in choices]


def named(schema, **members):
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, **members}}


FORMS = {
    "schema": ({"response_format": named(SCHEMA, strict=True)}, json.loads),
    "loose schema": ({"response_format": named({"uniqueItems": True, **SCHEMA})}, json.loads),
    "object": ({"response_format": {"type": "json_object"}}, json.loads),
    "structured json": ({"structured_outputs": {"json": SCHEMA}}, json.loads),
    "structured text": ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, json.loads),
    "structured object": ({"structured_outputs": {"json_object": True}}, json.loads),
    "regex": ({"structured_outputs": {"regex": "[0-9]{3}"}}, re.compile("[0-9]{3}").fullmatch),
    "choice": ({"structured_outputs": {"choice": ["yes", "no"]}}, ["yes", "no"].index),
    "grammar": ({"structured_outputs": {"grammar": 'start: "a"+ "!"'}}, re.compile("a+!").match),
    "guided json": ({"guided_json": SCHEMA}, json.loads),
    "guided regex": ({"guided_regex": "[ab]c"}, re.compile("[ab]c").fullmatch),
    "guided choice": ({"guided_choice": ["left", "right"]}, ["left", "right"].index),
    "guided grammar": ({"guided_grammar": 'start: "x"'}, ["x"].index),
}


@pytest.mark.parametrize("path", BASES)
@pytest.mark.parametrize(("fields", "check"), FORMS.values(), ids=FORMS)
def test_answers_have_the_form_that_was_asked_for(client, path, fields, check):
    answer = client.post(path, {**BASES[path], "n": 2, **fields})
    assert answer.status == 200
    for text in texts(answer):
        assert check(text) is not None


BAD = {
    "response_format": [
        *("json_object", 5, [], {}, {"type": "xml"}, {"type": 5}, {"type": "json_schema"}),
        {"type": "json_object", "extra": 1},
        {"type": "json_schema", "json_schema": "x"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"schema": {}}},
        named({}, name="a b"),
        named({}, name="x" * 65),
        named({}, name=5),
        named({}, strict="yes"),
        named({}, more=1),
        *map(named, ([], "object", False, {"type": "strin"}, {"enum": []}, {"$ref": "#"})),
        named({"$ref": "http://127.0.0.1:9/x"}),
        named({"uniqueItems": True}, strict=True),
        named({"type": "integer", "minimum": 5, "maximum": 2}),
        named({"enum": [str(i) for i in range(100_000)]}),
        named({"type": "string", "pattern": "(?<=a)b"}),
    ],
    "structured_outputs": [
        *(5, [], {}, {"json": {}, "regex": "a"}, {"xml": "a"}, {"regex": ""}, {"regex": 5}),
        *({"regex": "(("}, {"regex": "(?=a)"}, {"regex": "a" * 5_000}, {"json": "{"}),
        *({"choice": []}, {"choice": "ab"}, {"choice": [1]}, {"choice": [""]}, {"json": []}),
        *({"json_object": False}, {"grammar": ""}, {"grammar": "start: ("}, {"grammar": 'a: "b"'}),
        {"grammar": "start: " + "(" * 30_000},
    ],
    "guided_json": [5, "{", [], {"type": "strin"}],
    "guided_regex": ["", "((", 5],
    "guided_choice": [[], "x", [""]],
    "guided_grammar": ["", "start: x", 5],
}


@pytest.mark.parametrize("path", BASES)
@pytest.mark.parametrize("field", BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_forms_are_refused_by_name_before_anything_runs(client, source, path, field, stream):
    for value in BAD[field]:
        answer = client.post(path, {**BASES[path], "stream": stream, field: value})
        assert (answer.status, answer.error["param"]) == (400, field), value
        assert answer.error["type"] == "invalid_request_error"
    assert source.requests == []
    assert client.post(path, BASES[path]).status == 200


@pytest.mark.parametrize("path", BASES)
def test_only_one_form_may_be_given(client, path):
    fields = {"response_format": {"type": "json_object"}, "guided_regex": "a"}
    answer = client.post(path, {**BASES[path], **fields})
    assert (answer.status, answer.error["param"]) == (400, "guided_regex")
    text = {"response_format": {"type": "text"}, "guided_regex": "a"}
    assert client.post(path, {**BASES[path], **text}).status == 200


def test_prompts_and_samples_share_one_constraint(client, source):
    body = {**BASES[COMPLETIONS], "prompt": ["a", "b"], "guided_json": SCHEMA}
    client.post(COMPLETIONS, body)
    client.post(COMPLETIONS, body)
    assert len({id(request.constraint) for request in source.requests}) == 1


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Person(BaseModel):
    name: str = Field(max_length=5)
    age: int = Field(ge=0, le=120)
    moods: list[Mood] = Field(max_length=2)
    boss: str | None


def test_the_openai_client_parses_a_pydantic_model(api):
    messages = [{"role": "user", "content": "who?"}]
    answer = api.chat.completions.parse(
        model="tiny", messages=messages, response_format=Person, n=3
    )
    people = [choice.message.parsed for choice in answer.choices]
    assert all(isinstance(person, Person) for person in people)


def test_the_openai_client_streams_a_pydantic_model(api):
    messages = [{"role": "user", "content": "who?"}]
    with api.chat.completions.stream(
        model="tiny", messages=messages, response_format=Person
    ) as stream:
        for _ in stream:
            pass
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Person)


def test_the_openai_client_sends_vllms_names(api):
    answer = api.completions.create(
        model="tiny",
        prompt="mood?",
        extra_body={"structured_outputs": {"choice": [mood.value for mood in Mood]}},
    )
    assert answer.choices[0].text in set(Mood)


def test_responses_have_the_form_that_was_asked_for(client):
    given = {"type": "json_schema", "name": "it", "schema": SCHEMA, "strict": True}
    answer = client.post("/v1/responses", {"input": "hi", "text": {"format": given}})
    assert answer.status == 200
    document = answer.json()
    assert document["text"] == {"format": given}
    json.loads(document["output"][0]["content"][0]["text"])
    plain = client.post("/v1/responses", {"input": "hi"}).json()
    assert plain["text"] == {"format": {"type": "text"}}


@pytest.mark.parametrize(
    "value",
    [
        *(5, {}, {"type": "xml"}, {"type": "json_schema"}, {"type": "json_object", "x": 1}),
        {"type": "json_schema", "name": "it", "schema": {"type": "strin"}},
        {"type": "json_schema", "name": "a b", "schema": {}},
        {"type": "json_schema", "name": "it", "schema": {}, "more": 1},
    ],
)
def test_bad_forms_of_responses_are_refused_by_name(client, source, value):
    answer = client.post("/v1/responses", {"input": "hi", "text": {"format": value}})
    assert (answer.status, answer.error["param"]) == (400, "text.format")
    assert source.requests == []


def test_the_openai_client_parses_a_response(api):
    answer = api.responses.parse(model="tiny", input="who?", text_format=Person)
    assert isinstance(answer.output_parsed, Person)


def test_many_unique_schemas_are_served(client):
    for i in range(50):
        schema = {"const": f"unique {i}"}
        answer = client.post(COMPLETIONS, {**BASES[COMPLETIONS], "guided_json": schema})
        Draft202012Validator(schema).validate(json.loads(texts(answer)[0]))


@pytest.mark.parametrize("path", BASES)
def test_log_probabilities_are_those_of_the_prescribed_text(client, path):
    asked = {"logprobs": True} if "chat" in path else {"logprobs": 0}
    form = {"response_format": named(SCHEMA)}
    answer = client.post(path, {**BASES[path], "n": 2, **asked, **form})
    for choice, text in zip(answer.json()["choices"], texts(answer), strict=True):
        logprobs = choice["logprobs"]
        tokens = logprobs.get("tokens") or [entry["token"] for entry in logprobs["content"]]
        assert "".join(tokens) == text
        assert json.loads(text) is not None
