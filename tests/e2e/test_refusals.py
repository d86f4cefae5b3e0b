"""A real server on a real model refuses what it cannot honour.

Every case is checked in the same way: status and OpenAI's error object, nothing of the inside in
the body, a neighbour's tokens unchanged, and all blocks given back.
"""

from __future__ import annotations

import json
import time

import pytest

from e2e.served import (
    BASE,
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    LIMIT_S,
    RESPONSES,
    TOKENIZE,
    assert_refused,
    post,
)

pytestmark = [pytest.mark.real_model, pytest.mark.usefixtures("survives")]

NESTED = '{"a":' * 90 + "1" + "}" * 90


def with_field(path: str, field: str, value: str) -> str:
    """A good body of `path` with one field replaced by `value`, which is JSON, or nearly so."""
    if path not in BASE:
        others = ', "input": "x"' if path == RESPONSES and field != "input" else ""
        return f'{{"{field}": {value}{others}}}'
    rest = {key: item for key, item in BASE[path].items() if key != field}
    return json.dumps(rest)[:-1] + f', "{field}": {value}, "stream": true}}'


WRONG: dict[str, list[str]] = {
    "n": ["0", "-1", "2147483648", "1e18", "1.5"],
    "max_tokens": ["-1", "9223372036854775808", "1e400", "1.5", '"10"', "true"],
    "min_tokens": ["3", "2147483647", "-1"],
    "temperature": ["NaN", "Infinity", "-Infinity", "-1", "1e308", '"hot"'],
    "top_p": ["0", "1.1", "NaN"],
    "min_p": ["-0.1", "2"],
    "top_k": ["-2", "2147483648"],
    "presence_penalty": ["-2.1", "2.1", "NaN"],
    "frequency_penalty": ["-2.1", "2.1"],
    "repetition_penalty": ["0", "-1", "1e-40", "Infinity"],
    "logit_bias": ['{"49152": 1}', '{"-1": 1}', '{"AI": 1}', '{"1": 1e9}', '{"1": NaN}', "[]"],
    "stop_token_ids": ["[49152]", "[-1]", "[1.5]", '"x"'],
    "stop": ['""', '["", "x"]', '["a","b","c","d","e"]', "5", '["\\ud800"]'],
    "seed": ["-1", "18446744073709551616", '"x"'],
    "cache_salt": ['""', '"a\\nb"', "5"],
    "response_format": ["1"],
    "chat_template": ['"{{ 7*7 }}"'],
    "chat_template_kwargs": ['{"chat_template": "x"}'],
    "guided_regex": ['"(?<=a)b"', "5"],
    "legato": ['{"slo": {"tbt_ms": NaN}}', "5"],
    "store": ["true", "0"],
    "n_discard": ["-1"],
    "metadata": [NESTED, '{"a": 1}'],
}
ON_ONE: dict[tuple[str, str], list[str]] = {
    (CHAT, "top_logprobs"): ["21"],
    (CHAT, "tools"): ["[]"],
    (COMPLETIONS, "logprobs"): ["21", "-1"],
    (COMPLETIONS, "max_tokens"): ["0"],
    (COMPLETIONS, "prompt"): [
        *('""', "[]", '[""]', "[[]]", "[-1]", "[49152]", "[2147483648]", "[9223372036854775808]"),
        *("[1.0]", "[true]", "[[[1]]]", '["a", [1]]', json.dumps([5] * 8192)),
    ],
    (RESPONSES, "max_output_tokens"): ["0"],
    (RESPONSES, "temperature"): ["NaN"],
    (RESPONSES, "previous_response_id"): ['"resp_1"'],
    (RESPONSES, "input"): ['""', '"\\ud800"'],
    (EMBEDDINGS, "input"): [
        *('""', "[]", "[-1]", "[49152]", "[true]", '"\\ud800"', json.dumps([5] * 8193)),
    ],
    (TOKENIZE, "prompt"): ["5", '"\\ud800"'],
}
"""Value by value, the field itself is named."""

BELOW = {
    "[]": "messages",
    '[{"role": "x", "content": "a"}]': "messages[0].role",
    '[{"role": "assistant", "content": null}]': "messages[0].content",
    '[{"role": "tool", "content": "a"}]': "messages[0].tool_call_id",
    '[{"role": "user", "content": "\\ud800"}]': "messages",
}
"""Messages, and the part of them that is named."""


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        *((path, field, values) for path in BASE for field, values in WRONG.items()),
        *((path, field, values) for (path, field), values in ON_ONE.items()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(client, path, field, values):
    for value in values:
        assert_refused(post(client, path, with_field(path, field, value)), 400, field)


def test_a_part_of_a_field_is_refused_by_its_path(client):
    for messages, param in BELOW.items():
        assert_refused(post(client, CHAT, with_field(CHAT, "messages", messages)), 400, param)
    slo = with_field(CHAT, "legato", '{"slo": {"ttft_ms": 0}}')
    assert_refused(post(client, CHAT, slo), 400, "legato.slo.ttft_ms")


NO_OBJECTS = (
    *(b"null", b"[]", b"1", b"", b'{"prompt": "x"', b"{}{}", b"{} x", b"\xff", b"\0" * 99),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'{"n": 1, "n": 2}', b'{"\\ud800": 1}'),
)


@pytest.mark.parametrize("path", BASE)
def test_what_is_no_json_object_is_refused(client, path):
    for body in NO_OBJECTS:
        assert_refused(post(client, path, body), 400, "n" if b'"n"' in body else None)


LONG = {
    **{"a": "a" * 1_000_000, "spaces": " " * 1_000_000, "family": "👨‍👩‍👧" * 60_000},
    **{"switches": "a1" * 500_000, "control": "<|im_end|>" * 100_000},
}


@pytest.mark.parametrize("path", BASE)
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_text_that_cannot_fit_is_refused_soon(client, path, text):
    field, content = "prompt", text
    if path == CHAT:
        field, content = "messages", [{"role": "user", "content": text}]
    started = time.monotonic()
    response = client.post(path, json={**BASE[path], field: content})
    assert_refused(response, 400, field)
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert time.monotonic() - started < LIMIT_S / 2


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        (COMPLETIONS, b'{"prompt": "' + b"a" * 10_000_001 + b'"}', 413, None),
        (COMPLETIONS, b'{"prompt": "x", "model": "nobody"}', 404, "model"),
        ("/v1/nothing", b"{}", 404, None),
        ("/health", b"{}", 405, None),
    ],
    ids=["too large", "model", "path", "method"],
)
def test_other_refusals_have_their_own_status(client, path, body, status, param):
    assert_refused(post(client, path, body), status, param)
