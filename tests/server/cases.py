"""Bad inputs as one table: what is sent, and what must be answered, on every entry point."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
EMBEDDINGS, TOKENIZE, DETOKENIZE = "/v1/embeddings", "/tokenize", "/detokenize"
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"prompt": "hi"},
    RESPONSES: {"input": "hi"},
    EMBEDDINGS: {"input": "hi"},
    TOKENIZE: {"prompt": "hi"},
    DETOKENIZE: {"tokens": [65]},
}
GENERATE = (CHAT, COMPLETIONS, RESPONSES)
ALL = tuple(GOOD)

SWEEP = (str(-(2**63)), "-1", str(2**31), str(2**63), "1e18", "1e400", "1.5", '"10"', "true")
NESTED = '{"a":' * 90 + "1" + "}" * 90
SURROGATE = '"\\ud800"'
IMAGE = '[{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]'
MANY_BIASES = json.dumps({str(i): 1 for i in range(2000)})

SAMPLING: dict[str, tuple[str, tuple[str, ...]]] = {  # field → (case, JSON texts)
    "min_tokens": ("A4", SWEEP),
    "temperature": ("A5", ("NaN", "Infinity", "-Infinity", "-1", "1e308", '"hot"', "1e400")),
    "top_p": ("A7", ("0", "1.1", "NaN", "-1", '"1"')),
    "min_p": ("A7", ("-0.1", "1.1", "NaN")),
    "top_k": ("A7", ("-2", str(2**31), "1.5", "true")),
    "frequency_penalty": ("A8", ("-2.1", "2.1", "NaN")),
    "presence_penalty": ("A8", ("-2.1", "2.1", "NaN")),
    "repetition_penalty": ("A8", ("0", "-1", "1e-40", "Infinity")),
    "logit_bias": ("A12", (
        '{"258": 1}', '{"-1": 1}', '{"2147483648": 1}', '{"AI": 1}', '{"1": 1e9}', '{"1": NaN}',
        MANY_BIASES, "[]",
    )),
    "stop_token_ids": ("A14", ("[258]", "[-1]", "[true]", '"x"')),
    "stop": ("A16", ('""', '["", "x"]', json.dumps(["x"] * 100_000), json.dumps("x" * 1_000_000),
                     '["a","b","c","d","e"]', "5", '["\\ud800"]')),
    "seed": ("A18", ("-1", str(2**64), '"x"', "1.5")),
    "priority": ("A20", (str(-(2**63)), str(2**31), str(2**63), "1.5", "true")),
    "cache_salt": ("C15", ('""', json.dumps("x" * 1_000_000), '"a\\nb"', "5", SURROGATE)),
    "metadata": ("C1", (NESTED, '{"a": 1}', '{"a": "\\ud800"}')),
    "legato": ("A20", ('{"slo": {"ttft_ms": 0}}', '{"slo": {"tbt_ms": NaN}}', "[]", NESTED)),
    "chat_template": ("D1", ('"{{ 7*7 }}"',)),
    "chat_template_kwargs": ("D1", ('{"chat_template": "x"}',)),
    "prompt_embeds": ("E3", ('"gASVAAAA"',)),
    "store": ("A20", ("true", "0", '"false"')),
    "n_discard": ("A20", SWEEP),
}  # fmt: skip
OWN: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    (CHAT, "n"): ("A1", ("0", *SWEEP)),
    (COMPLETIONS, "n"): ("A1", ("0", *SWEEP)),
    (RESPONSES, "n"): ("A1", ("2",)),
    (CHAT, "max_tokens"): ("A2", ("0", *SWEEP)),
    (COMPLETIONS, "max_tokens"): ("A2", ("0", *SWEEP)),
    (RESPONSES, "max_output_tokens"): ("A2", ("0", *SWEEP)),
    (CHAT, "top_logprobs"): ("A10", ("21", "1000000000", "-1", "5")),
    (COMPLETIONS, "logprobs"): ("A10", ("21", "1000000000", "-1", "true")),
    (RESPONSES, "top_logprobs"): ("A10", ("21", "1000000000", "-1", "5")),
    (CHAT, "messages"): ("B1 D6", ("[]", "null", '"hi"', "{}", "[1]", "[[]]",
        '[{"role": "user"}]', '[{"role": "wizard", "content": "x"}]',
        '[{"role": "user", "content": null}]', '[{"role": "user", "content": "\\ud800"}]',
        '[{"role": "user", "content": ' + IMAGE + "}]", json.dumps([{"role": "user"}] * 10_001),
        json.dumps([{"role": "user", "content": "a" * 1_000_000}]))),
    (COMPLETIONS, "prompt"): ("B1 B2 B3", ('""', "[]", '[""]', "[[]]", "null", "[-1]", "[258]",
        "[2147483648]", "[9223372036854775808]", "[1.0]", "[true]", "[[[1]]]", '["a", [1]]', "5",
        json.dumps([65] * 257), SURROGATE, json.dumps(" " * 1_000_000))),
    (RESPONSES, "input"): ("B1", ('""', "[]", "null", "5", "[1]", '[{"role": "user"}]', SURROGATE,
        '[{"role": "user", "content": [{"type": "input_image", "image_url": "http://[::1]/"}]}]',
        json.dumps("a" * 1_000_000))),
    (RESPONSES, "previous_response_id"): ("A19", ('"resp_1"',)),
    (EMBEDDINGS, "input"): ("B1 B2", ('""', "[]", '[""]', "[[]]", "[258]", "[-1]", "[true]",
        json.dumps([65] * 257), SURROGATE, json.dumps("a" * 1_000_000))),
    (EMBEDDINGS, "pooling"): ("A19", ('"cls"', "1")),
    (TOKENIZE, "prompt"): ("B6", ("5", "[1]", SURROGATE, json.dumps("a" * 1_000_001))),
    (DETOKENIZE, "tokens"): ("B2", ("[258]", "[-1]", "[true]", "[1.5]", "5", "[[1]]",
                                    "[9223372036854775808]")),
}  # fmt: skip
EVERYWHERE: dict[str, tuple[str, tuple[str, ...]]] = {
    "model": ("B7", ("5", '""', SURROGATE, json.dumps("x" * 1_000_000))),
    "n_batch": ("A19", ("1", NESTED, "null")),
    "\\ud800": ("B7", ("1",)),
}
BODIES: dict[str, bytes] = {  # C3, C1, A19: what is no good JSON object
    "null": b"null",
    "list": b"[]",
    "number": b"1",
    "nothing": b"",
    "cut": b'{"prompt": "x"',
    "two": b"{}{}",
    "garbage": b"{} x",
    "not utf-8": b"\xff\xfe",
    "zeros": b"\0" * 99,
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "twice": b'{"prompt": "a", "prompt": "b", "input": "a"}',
    "digits": b'{"n": ' + b"9" * 5000 + b"}",
    "pickle": b"\x80\x04\x95",
}


@dataclass(frozen=True)
class Case:
    """A body for `path` that must be refused with 400, the param beginning with `param`."""

    name: str
    path: str
    body: bytes
    param: str | None


def with_field(path: str, field: str, value: str) -> bytes:
    """A good body with one field replaced by `value`, which is JSON, or nearly so."""
    rest = {key: item for key, item in GOOD[path].items() if key != field}
    start = json.dumps(rest)[:-1] + (", " if rest else "")
    return f'{start}"{field}": {value}}}'.encode()


def cases() -> Iterator[Case]:
    """All of them."""
    for path in GENERATE:
        for field, (case, values) in SAMPLING.items():
            yield from _field_cases(case, path, field, values)
    for (path, field), (case, values) in OWN.items():
        yield from _field_cases(case, path, field, values)
    for path in ALL:
        for field, (case, values) in EVERYWHERE.items():
            yield from _field_cases(case, path, field, values)
        for name, body in BODIES.items():
            yield Case(f"C3 {path} {name}", path, body, None)


def _field_cases(case: str, path: str, field: str, values: tuple[str, ...]) -> Iterator[Case]:
    param = None if field.startswith("\\") else field
    for number, value in enumerate(values):
        yield Case(f"{case} {path} {field} {number}", path, with_field(path, field, value), param)
