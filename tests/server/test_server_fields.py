"""Every bad field on every endpoint that generates: 400, the field's name, nothing generated."""

import json

import pytest

from legato.server.openapi import BODIES
from legato.server.protocol import ChatRequest, CompletionRequest
from legato.validate import RANGES

BASES = {
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "tiny", "prompt": "hi"},
}
CHAT, COMPLETIONS = BASES
IMAGE = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}
NAN, INF = float("nan"), float("inf")
SWEEP = [-(2**63), 2**31, 2**63, 10**18]

BAD_ON_BOTH = {
    "n": [0, -1, 129, "1", True, 1.5, *SWEEP],
    "max_tokens": [-1, *SWEEP, INF, 1.5, "10", True],
    "min_tokens": [-1, *SWEEP, "1", True],
    "temperature": [NAN, INF, -INF, -1, 1e308, "hot", True, []],
    "top_p": [0, -0.1, 1.01, NAN, "1"],
    "min_p": [-0.1, 1.01, NAN],
    "top_k": [-2, *SWEEP, 1.5, True],
    "presence_penalty": [-2.1, 2.1, NAN],
    "frequency_penalty": [-2.1, 2.1, NAN],
    "repetition_penalty": [0, -1, 1e-40, INF, 1e30],
    "logit_bias": [
        {"258": 1},
        {"-1": 1},
        {str(2**31): 1},
        {"AI": 1},
        {"01": 1},
        {"٣": 1},
        {"1": 1e9},
        {"1": NAN},
        {"1": True},
        {"1": "5"},
        {str(i): 1 for i in range(2000)},
        [],
        "x",
    ],
    "stop": ["", ["", "x"], ["x"] * 5, ["x"] * 100_000, "x" * 1_000_000, 5, [1], {"a": 1}],
    "stop_token_ids": [[258], [-1], [1.5], [True], "1", list(range(100))],
    "seed": [-1, 2**64, "x", 1.5, True],
    "stream": [1, "true", []],
    "stream_options": [{"include_usage": True, "continuous_usage_stats": True}, 5],
    "user": [5, "x" * 257],
    "metadata": ["x", {"a": 1}, {"k" * 65: "v"}, {"k": "v" * 513}],
    "priority": [1.5, True, "1", 2**63, -(2**63)],
    "cache_salt": ["", "x" * 257, "a\nb", "a b", "ü", 5],
    "ignore_eos": [1, "yes"],
    "store": [True, "x"],
    "service_tier": ["flex", 1],
    "model": [5, "", [], "x" * 300],
    "best_of": [1, 2],
    "chat_template": ["{{ x }}"],
    "prompt_embeds": ["gASV"],
}
BAD_ON_CHAT = {
    "messages": [None, [], "hi", {}, 5],
    "logprobs": [1, "x", 5],
    "top_logprobs": [21, -1, 10**9, True, 3],
    "max_completion_tokens": [0, -1, 2**63, "1"],
    "tools": [[], {}, "x", 5, [{"type": "function", "function": {"name": "f"}}] * 129],
    "tool_choice": ["auto"],
    "parallel_tool_calls": [True],
    "functions": [[]],
    "audio": [{}],
    "reasoning_effort": ["low"],
    "prompt": ["x"],
    "echo": [True],
}
BAD_ON_COMPLETIONS = {
    "prompt": [
        None,
        "",
        [],
        [""],
        [[]],
        ["a", ""],
        [[1], []],
        [-1],
        [258],
        [2**31],
        [2**63],
        [1.5],
        [True],
        [[[1]]],
        [1, "a"],
        ["a", [1]],
        [[1], "a"],
        5,
        {},
        ["a"] * 129,
    ],
    "logprobs": [21, -1, 10**9, True, "1"],
    "suffix": ["x"],
    "messages": [[]],
    "echo": [1, "x"],
}


def cases():
    for path, base in BASES.items():
        own = BAD_ON_CHAT if path == CHAT else BAD_ON_COMPLETIONS
        for field, values in {**BAD_ON_BOTH, **own}.items():
            for number, value in enumerate(values):
                name = path.split("/")[2]
                yield pytest.param(
                    path, {**base, field: value}, field, id=f"{name}-{field}-{number}"
                )


@pytest.mark.parametrize(("path", "body", "field"), list(cases()))
def test_a_bad_field_is_refused_by_name(client, source, path, body, field):
    answer = client.post(path, body)
    assert answer.status == 400, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == field
    assert answer.error["message"]
    assert source.requests == []


@pytest.mark.parametrize("path", BASES)
def test_a_bad_field_of_a_stream_is_plain_json(client, path):
    answer = client.post(path, {**BASES[path], "stream": True, "temperature": 3})
    assert answer.status == 400
    assert answer.error["param"] == "temperature"


@pytest.mark.parametrize("path", BASES)
def test_unknown_fields_are_all_named(client, path):
    answer = client.post(path, {**BASES[path], "foo": 1, "top_kk": None})
    assert answer.status == 400
    assert "'foo'" in answer.error["message"]
    assert "'top_kk'" in answer.error["message"]
    assert answer.error["code"] == "unknown_parameter"


@pytest.mark.parametrize("path", BASES)
def test_null_means_the_default_for_every_optional_field(client, source, path):
    fields = BODIES[path].model_fields
    nulls = {name: None for name, field in fields.items() if not field.is_required()}
    refused = dict.fromkeys(BODIES[path].refused)
    assert client.post(path, {**refused, **nulls, **BASES[path]}).status == 200
    plain = client.post(path, BASES[path])
    assert plain.status == 200
    assert source.requests[0].params == source.requests[1].params


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "user", "content": "x", "tool_call_id": "c"}, "messages[0].tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": "c"}, "messages[0]"),
        ({"role": "wizard", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "user", "content": "x", "name": "n"}, "messages[0].name"),
        ({"role": "user", "content": "x", "tool_calls": []}, "messages[0].tool_calls"),
        ({"role": "user", "content": "x", "mood": 1}, "messages[0].mood"),
        ({"role": "user", "content": [IMAGE]}, "messages[0].content"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content"),
        ({"role": "user", "content": [{"type": [], "text": "a"}]}, "messages[0].content"),
        ({"role": "user", "content": ["a"]}, "messages[0].content"),
        ("hi", "messages[0]"),
    ],
)  # fmt: skip
def test_a_bad_message_is_refused_by_place(client, message, param):
    answer = client.post(CHAT, {"model": "tiny", "messages": [message]})
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"min_tokens": 6, "max_tokens": 5}, "min_tokens"),
        ({"min_tokens": 300}, "min_tokens"),
        ({"modalities": ["audio"]}, "modalities[0]"),
        ({"stream": True, "stream_options": {"x": True}}, "stream_options.x"),
    ],
)
def test_fields_that_contradict_each_other(client, extra, param):
    answer = client.post(CHAT, {**BASES[CHAT], **extra})
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": ["a"] * 2, "n": 65}, "n"),
        ({"echo": True, "logprobs": 21}, "logprobs"),
    ],
)
def test_completions_fields_that_contradict_each_other(client, extra, param):
    answer = client.post(COMPLETIONS, {**BASES[COMPLETIONS], **extra})
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize("path", BASES)
@pytest.mark.parametrize(
    "neutral",
    [
        {"response_format": {"type": "text"}},
        {"store": False},
        {"service_tier": "default"},
        {"top_k": -1},
        {"top_k": 10**9},
        {"seed": 2**63 - 1},
        {"metadata": {}},
        {"stop": []},
    ],
)
def test_values_that_change_nothing_are_taken(client, path, neutral):
    assert client.post(path, {**BASES[path], **neutral}).status == 200


@pytest.mark.parametrize("path", BASES)
def test_a_top_k_beyond_the_vocabulary_keeps_all(client, source, path):
    client.post(path, {**BASES[path], "top_k": 259})
    assert source.requests[0].params.top_k == 258


@pytest.mark.parametrize("length", [255, 256, 257])
def test_prompts_around_the_context_length(client, length):
    answer = client.post(COMPLETIONS, {"model": "tiny", "prompt": [65] * length})
    if length == 255:
        assert answer.json()["choices"][0]["finish_reason"] == "length"
    else:
        assert answer.status == 400
        assert answer.error["code"] == "context_length_exceeded"
        assert answer.error["param"] == "prompt"


def test_a_long_conversation_exceeds_the_context_too(client):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 300}]}
    answer = client.post(CHAT, {**body, "stream": True})
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert answer.error["param"] == "messages"


@pytest.mark.parametrize("path", BASES)
@pytest.mark.parametrize("field", ["model", "user", "stop", "metadata", "foo"])
def test_a_lone_surrogate_is_refused_wherever_it_is(client, path, field):
    value = {"k": "\ud800"} if field == "metadata" else "\ud800"
    answer = client.post(path, {**BASES[path], field: value})
    assert (answer.status, answer.error["param"]) == (400, field)
    assert json.loads(answer.body.decode())


@pytest.mark.parametrize("model", [ChatRequest, CompletionRequest])
def test_ranges_are_those_of_every_other_entry_point(model):
    properties = model.model_json_schema()["properties"]
    numeric = [name for name in RANGES if "maximum" in properties[name]["anyOf"][0]]
    assert len(numeric) >= len(RANGES) - 1  # chat's logprobs is a flag
    for name in numeric:
        least, most = RANGES[name]
        kind = properties[name]["anyOf"][0]
        assert kind["maximum"] == most
        if (model, name) not in {(CompletionRequest, "max_tokens"), (model, "top_k")}:
            assert kind.get("minimum", kind.get("exclusiveMinimum")) == least
