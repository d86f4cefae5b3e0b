"""Bad inputs as one table: what is sent to which entry point, and which field the refusal names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
EMBEDDINGS, TOKENIZE, DETOKENIZE = "/v1/embeddings", "/tokenize", "/detokenize"
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
    COMPLETIONS: {"prompt": "hi", "max_tokens": 4},
    RESPONSES: {"input": "hi", "max_output_tokens": 4},
    EMBEDDINGS: {"input": "hi"},
    TOKENIZE: {"prompt": "hi"},
    DETOKENIZE: {"tokens": [65]},
}
GENERATE = (CHAT, COMPLETIONS, RESPONSES)
LIMIT = {CHAT: "max_tokens", COMPLETIONS: "max_tokens", RESPONSES: "max_output_tokens"}
"""The field that says how many tokens an answer may have."""

ALL = tuple(GOOD)
CONTEXT = 1024
"""Most tokens of the model that the cases are put to; it has the token ids 0 to 96."""

SWEEP = (str(-(2**63)), "-1", str(2**31), str(2**63), "1e18", "1e400", "1.5", '"10"', "true")
NESTED = '{"a":' * 90 + "1" + "}" * 90
BOMB = '{"a":' * 100_000 + "1" + "}" * 100_000
SURROGATE = '"\\ud800"'
MANY_BIASES = json.dumps({str(i): 1 for i in range(100_000)})
TOO_LONG = json.dumps([65] * (CONTEXT + 1))
ADDRESSES = (
    *("http://169.254.169.254/latest", "http://localhost/", "http://[::ffff:127.0.0.1]/"),
    *("http://0x7f.1/", "http://2130706433/", "http://a@127.0.0.1/", "http:\\\\127.0.0.1\\x"),
    *("http://xn--e1afmkfd.example/", "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"),
    "data:image/png;base64,iVBORw0KGgo=",
)

SAMPLING: dict[str, tuple[str, tuple[str, ...]]] = {  # field → (case, JSON texts)
    "min_tokens": ("A4", (*SWEEP, "5", "100000")),
    "temperature": ("A5", ("NaN", "Infinity", "-Infinity", "-1", "1e308", '"hot"', "1e400")),
    "top_p": ("A7", ("0", "1.1", "NaN", "-1", '"1"')),
    "min_p": ("A7", ("-0.1", "1.1", "NaN")),
    "top_k": ("A7", ("-2", str(2**31), "1.5", "true")),
    "frequency_penalty": ("A8", ("-2.1", "2.1", "NaN")),
    "presence_penalty": ("A8", ("-2.1", "2.1", "NaN")),
    "repetition_penalty": ("A8", ("0", "-1", "1e-40", "Infinity")),
    "prompt_logprobs": ("A10", ("0", "1000000000")),
    "logit_bias": ("A12", (
        '{"97": 1}', '{"-1": 1}', '{"2147483648": 1}', '{"AI": 1}', '{"1": 1e9}', '{"1": NaN}',
        MANY_BIASES, "[]",
    )),
    "stop_token_ids": ("A14", ("[97]", "[-1]", "[true]", '"x"')),
    "allowed_token_ids": ("A14", ("[1]",)),
    "bad_words": ("A14", ('["x"]',)),
    "stop": ("A16", ('""', '["", "x"]', json.dumps(["x"] * 100_000), json.dumps("x" * 1_000_000),
                     '["a","b","c","d","e"]', "5", '["\\ud800"]')),
    "seed": ("A18", ("-1", str(2**64), '"x"', "1.5")),
    "priority": ("A20", (str(-(2**63)), str(2**31), str(2**63), "1.5", "true")),
    "cache_salt": ("C15", ('""', json.dumps("x" * 1_000_000), '"a\\nb"', "5", SURROGATE)),
    "metadata": ("C1", (NESTED, BOMB, '{"a": 1}', '{"a": "\\ud800"}')),
    "legato": ("A20", ('{"slo": {"ttft_ms": 0}}', '{"slo": {"tbt_ms": NaN}}', "[]", NESTED,
                       *(f'{{"draft_tokens": {value}}}' for value in SWEEP))),
    "chat_template": ("D1", ('"{{ 7*7 }}"',)),
    "chat_template_kwargs": ("D1", ('{"chat_template": "x"}',)),
    "prompt_embeds": ("E3", ('"gASVAAAA"',)),
    "store": ("A20", ("true", "0", '"false"')),
    "n_discard": ("A20", SWEEP),
}  # fmt: skip

PATTERNS = tuple(  # D7
    json.dumps(pattern) for pattern in ("(?<=a)b", "(a)\\1", "(?=a)", "((", "", "a" * 5000)
)
HEAVY: dict[str, tuple[str, tuple[str, ...]]] = {  # refused within a budget, or served: they end
    "guided_regex": ("D7", tuple(map(json.dumps, (
        "(a+)+b", "((a?){60}){60}", ".{1000000}", r"\p{L}{1,2000}", r"(.|\n)*a(.|\n){300}",
    )))),
    "guided_json": ("D9", tuple(map(json.dumps, (
        {"type": "array", "minItems": 10**9}, {"type": "string", "maxLength": 10**9},
        {"type": "string", "pattern": "((a?){60}){60}"},
        {"type": "object", "properties": {"c": {"$ref": "#"}}},
    )))),
    "guided_grammar": ("D10", tuple(map(json.dumps, (
        'start: start "a" | "b"', 'start: e\ne: e e | "a" | "b"',
        'start: (("a"{1,1000}){1,1000}){1,1000}',
    )))),
}  # fmt: skip
SCHEMAS = tuple(  # D8, D9
    json.dumps(schema)
    for schema in (
        *({"type": "strin"}, {"enum": []}, {"$ref": "#"}, {"$ref": "#/a"}, False),
        *({"$ref": "http://127.0.0.1:9/x"}, {"type": "integer", "minimum": 5, "maximum": 2}),
        *({"enum": [str(i) for i in range(100_000)]}, {"pattern": "(?<=a)b", "type": "string"}),
        {"type": "object", "properties": {f"p{i}": {} for i in range(100_000)}},
    )
)
GRAMMARS = tuple(  # D10
    json.dumps(grammar)
    for grammar in ("", "start: (", 'start: "', 'a: "b"', "start: x", "start: " + "(" * 30_000,
                    "start: x\nx: x" + ' "a"' * 20_000, "start: " + '"a" ' * 300_000)
)  # fmt: skip


def _named(schema: str) -> str:
    return f'{{"type": "json_schema", "json_schema": {{"name": "x", "schema": {schema}}}}}'


def _text(schema: str) -> str:
    return f'{{"format": {{"type": "json_schema", "name": "x", "schema": {schema}}}}}'


FORMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "guided_regex": ("D7", PATTERNS),
    "guided_json": ("D8 D9", (*SCHEMAS, "5", NESTED, SURROGATE, '"{"')),
    "guided_choice": ("D8", ("[]", '"ab"', "[1]", '[""]', json.dumps(["x"] * 5000))),
    "guided_grammar": ("D10", (*GRAMMARS, "5")),
    "response_format": ("D8 D9", (*map(_named, SCHEMAS), '{"type": "xml"}', "5", BOMB,
                                  _named(SURROGATE), '{"type": "json_schema"}')),
    "structured_outputs": ("D7 D10", (
        *(f'{{"regex": {pattern}}}' for pattern in PATTERNS),
        *(f'{{"grammar": {grammar}}}' for grammar in GRAMMARS),
        '{"json": {}, "regex": "a"}', '{"xml": "a"}', "[]",
    )),
}  # fmt: skip


def _messages(*messages: str) -> str:
    return f"[{', '.join(messages)}]"


USER = '{"role": "user", "content": "hi"}'
BAD_MESSAGES = (
    *("[]", "null", '"hi"', "{}", "[1]", "[[]]"),
    *map(
        _messages,
        (
            '{"role": "user"}',
            '{"role": "wizard", "content": "x"}',
            '{"role": "\\ud800", "content": "x"}',
            '{"role": "user", "content": null}',
            '{"role": "user", "content": "\\ud800"}',
            '{"role": "user", "content": "x", "name": "\\ud800"}',
            '{"role": "tool", "content": "x", "tool_call_id": "c"}',
            '{"role": "tool", "content": "x"}',
            '{"role": "assistant", "content": null}',
            '{"role": "assistant", "tool_calls": []}',
            '{"role": "assistant", "tool_calls": [{"id": "\\ud800", "type": "function",'
            ' "function": {"name": "f", "arguments": "{}"}}]}',
            *(
                '{"role": "assistant", "tool_calls": [{"id": "c", "type": "function",'
                f' "function": {{"name": "f", "arguments": {json.dumps(arguments)}}}}}]}}'
                for arguments in ("x", "[]", "", "{}", "[" * 100_000)
            ),
        ),
    ),
    json.dumps([{"role": "user", "content": "x"}] * 100_000),
    json.dumps([{"role": "user", "content": "a" * 1_000_000}]),
)
IMAGES = tuple(
    json.dumps([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    for url in ADDRESSES
)
INPUT_IMAGES = tuple(
    json.dumps([{"role": "user", "content": [{"type": "input_image", "image_url": url}]}])
    for url in ADDRESSES
)
CALL = '{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}'
BAD_INPUT = (
    *('""', "[]", "null", "5", "[1]", '[{"role": "user"}]', SURROGATE),
    *map(
        _messages,
        (
            '{"role": "wizard", "content": "x"}',
            '{"type": "reasoning", "content": "x"}',
            '{"type": "item_reference", "id": "x"}',
            CALL,
            '{"type": "function_call_output", "call_id": "c", "output": "x"}',
            CALL.replace('"{}"', '"x"'),
        ),
    ),
    json.dumps([{"role": "user", "content": "x"}] * 100_000),
    json.dumps("a" * 1_000_000),
)
BAD_TOOLS = (
    *("5", '["f"]', '[{"type": "web_search"}]', BOMB, NESTED),
    '[{"type": "function"}]',
    json.dumps([{"type": "function", "name": "f", "function": {"name": "f"}}] * 200),
)
BAD_PROMPTS = (
    *('""', "[]", '[""]', "[[]]", "null", "[-1]", "[97]", "[2147483648]", "[9223372036854775808]"),
    *("[1.0]", "[true]", "[[[1]]]", '["a", [1]]', "5", TOO_LONG, SURROGATE),
    json.dumps(" " * 1_000_000),
)

OWN: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    (CHAT, "n"): ("A1", ("0", *SWEEP)),
    (COMPLETIONS, "n"): ("A1", ("0", *SWEEP)),
    (RESPONSES, "n"): ("A1", ("2",)),
    (EMBEDDINGS, "n"): ("A1", ("2",)),
    (CHAT, "max_tokens"): ("A2", ("0", *SWEEP)),
    (CHAT, "max_completion_tokens"): ("A2", ("0", *SWEEP)),
    (COMPLETIONS, "max_tokens"): ("A2", ("0", *SWEEP)),
    (RESPONSES, "max_output_tokens"): ("A2", ("0", *SWEEP)),
    (CHAT, "top_logprobs"): ("A10", ("21", "1000000000", "-1", "5")),
    (COMPLETIONS, "logprobs"): ("A10", ("21", "1000000000", "-1", "true")),
    (RESPONSES, "top_logprobs"): ("A10", ("21", "1000000000", "-1", "5")),
    (CHAT, "messages"): ("B1 B7 D6", BAD_MESSAGES),
    (TOKENIZE, "messages"): ("B1 B7 D6", BAD_MESSAGES[2:-2]),
    (COMPLETIONS, "prompt"): ("B1 B2 B3 B6", BAD_PROMPTS),
    (RESPONSES, "input"): ("B1 D6", BAD_INPUT),
    (EMBEDDINGS, "input"): ("B1 B2 B3 B6", BAD_PROMPTS),
    (CHAT, "messages "): ("E1", IMAGES),
    (TOKENIZE, "messages "): ("E1", IMAGES),
    (RESPONSES, "input "): ("E1", INPUT_IMAGES),
    (CHAT, "tools"): ("C1 D6", (*BAD_TOOLS, "[]")),
    (RESPONSES, "tools"): ("C1 D6", BAD_TOOLS),
    (CHAT, "tool_choice"): ("D6", ('"any"', '"auto"', "5", NESTED, SURROGATE)),
    (RESPONSES, "tool_choice"): ("D6", ('"any"', '"required"', "5", NESTED, SURROGATE)),
    (RESPONSES, "text"): ("D8 D9", (*map(_text, SCHEMAS), "5", BOMB, '{"format": {"type": "x"}}')),
    (RESPONSES, "previous_response_id"): ("A19", ('"resp_1"',)),
    (COMPLETIONS, "suffix"): ("A19", ('"x"',)),
    (EMBEDDINGS, "pooling"): ("A19", ('"cls"', "1")),
    (EMBEDDINGS, "encoding_format"): ("A19", ('"int8"',)),
    (TOKENIZE, "prompt"): ("B6", ("5", "[1]", SURROGATE, json.dumps("a" * 1_000_001))),
    (DETOKENIZE, "tokens"): ("B2", ("[97]", "[-1]", "[true]", "[1.5]", "5", "[[1]]",
                                    "[9223372036854775808]")),
}  # fmt: skip
EVERYWHERE: dict[str, tuple[str, tuple[str, ...]]] = {
    "model": ("B7", ("5", '""', SURROGATE, json.dumps("x" * 1_000_000))),
    "n_batch": ("A19", ("1", NESTED, BOMB, "null")),
    "\\ud800": ("B7", ("1",)),
}
BODIES: dict[str, tuple[str, bytes]] = {  # what is no good JSON object
    "null": ("C3", b"null"),
    "list": ("C3", b"[]"),
    "number": ("C3", b"1"),
    "nothing": ("C3", b""),
    "cut": ("C3", b'{"prompt": "x"'),
    "two": ("C3", b"{}{}"),
    "garbage": ("C3", b"{} x"),
    "not utf-8": ("C3", b"\xff\xfe"),
    "zeros": ("C3", b"\0" * 99),
    "deep list": ("C1", b"[" * 100_000),
    "deep object": ("C1", b'{"a":' * 100_000),
    "twice": ("A19", b'{"prompt": "a", "prompt": "b", "input": "a"}'),
    "digits": ("C3", b'{"n": ' + b"9" * 5000 + b"}"),
    "pickle": ("E3", b"\x80\x04\x95"),
    "torch": ("E3", b"PK\x03\x04" + b"\0" * 99),
}


@dataclass(frozen=True)
class Case:
    """A body for `path` that must be refused with 400, the param beginning with `param`."""

    numbers: str
    name: str
    path: str
    body: bytes
    param: str | None


def with_field(path: str, field: str, value: str) -> bytes:
    """A good body with one field replaced by `value`, which is JSON, or nearly so."""
    dropped = {field, "prompt"} if (path, field) == (TOKENIZE, "messages") else {field}
    rest = {key: item for key, item in GOOD[path].items() if key not in dropped}
    start = json.dumps(rest)[:-1] + (", " if rest else "")
    return f'{start}"{field}": {value}}}'.encode()


def cases() -> Iterator[Case]:
    """All of them."""
    for path in ALL:
        for fields in (SAMPLING, FORMS):
            for field, (numbers, values) in fields.items():
                honoured = path in GENERATE and (fields is SAMPLING or path != RESPONSES)
                # An entry point that does not know a field refuses it whatever its value is.
                yield from _field_cases(numbers, path, field, values if honoured else values[:1])
    for (path, field), (numbers, values) in OWN.items():
        yield from _field_cases(numbers, path, field.strip(), values)
    for path in ALL:
        for field, (numbers, values) in EVERYWHERE.items():
            yield from _field_cases(numbers, path, field, values)
        for name, (number, body) in BODIES.items():
            yield Case(number, name, path, body, None)


def _field_cases(numbers: str, path: str, field: str, values: tuple[str, ...]) -> Iterator[Case]:
    param = None if field.startswith("\\") else field
    for number, value in enumerate(values):
        is_deep = value is BOMB  # too deep for the parser, which does not know where it is
        body = with_field(path, field, value)
        yield Case(numbers, f"{field} {number}", path, body, None if is_deep else param)
