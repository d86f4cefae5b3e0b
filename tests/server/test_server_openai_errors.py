"""Refusals in OpenAI's words: status, type, param and code, where theirs are known."""

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service

from legato.errors import OverloadedError
from legato.server.app import create_app
from legato.server.settings import ServerSettings

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
USER = {"role": "user", "content": "hi"}
GOOD = {CHAT: {"messages": [USER]}, COMPLETIONS: {"prompt": "hi"}, RESPONSES: {"input": "hi"}}
KNOWN = [
    (CHAT, {"messages": None}, "messages", "invalid_type"),
    (RESPONSES, {"foo": 1}, "foo", "unknown_parameter"),
    (CHAT, {"foo": 1}, "foo", "unknown_parameter"),
    (COMPLETIONS, {"suffix": "x"}, "suffix", "unsupported_parameter"),
    (CHAT, {"temperature": "hot"}, "temperature", "invalid_type"),
    (CHAT, {"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    (CHAT, {"top_p": -0.1}, "top_p", "decimal_below_min_value"),
    (CHAT, {"n": 0}, "n", "integer_below_min_value"),
    (CHAT, {"n": 129}, "n", "integer_above_max_value"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    (CHAT, {"max_tokens": "10"}, "max_tokens", "invalid_type"),
    (RESPONSES, {"max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
    (CHAT, {"messages": []}, "messages", "empty_array"),
    (CHAT, {"messages": [{**USER, "role": "x"}]}, "messages[0].role", "invalid_value"),
    (CHAT, {"user": "x" * 257}, "user", "string_above_max_length"),
    (CHAT, {"stream": "yes"}, "stream", "invalid_type"),
    (CHAT, {"messages": [{**USER, "content": "x" * 300}]}, "messages", "context_length_exceeded"),
]


def error_of(answer, status):
    assert answer.status == status, answer.body
    return answer.error["type"], answer.error["param"], answer.error["code"]


@pytest.mark.parametrize(("path", "fields", "param", "code"), KNOWN, ids=lambda v: str(v)[:40])
def test_a_refused_value_has_openais_code(client, path, fields, param, code):
    answer = client.post(path, {**GOOD[path], **fields})
    assert error_of(answer, 400) == ("invalid_request_error", param, code)


@pytest.mark.parametrize("path", GOOD)
def test_a_missing_field_has_openais_code(client, path):
    (field,) = GOOD[path]
    expected = ("invalid_request_error", field, "missing_required_parameter")
    assert error_of(client.post(path, {}), 400) == expected


def test_other_refusals_have_openais_types(client, source):
    unknown = client.post(CHAT, {**GOOD[CHAT], "model": "x"})
    assert error_of(unknown, 404) == ("invalid_request_error", "model", "model_not_found")
    assert error_of(client.post("/v1/nothing", {}), 404)[0] == "invalid_request_error"
    assert error_of(client.get(CHAT), 405)[0] == "invalid_request_error"
    source.refusal = OverloadedError("full", 1)
    assert error_of(client.post(CHAT, GOOD[CHAT]), 503) == ("server_error", None, "overloaded")
    closed = AsgiClient(create_app(make_service(FakeSource()), ServerSettings(api_keys=("k",))))
    wrong = closed.post(CHAT, GOOD[CHAT], (b"authorization", b"Bearer x"))
    assert error_of(wrong, 401) == ("invalid_request_error", None, "invalid_api_key")
