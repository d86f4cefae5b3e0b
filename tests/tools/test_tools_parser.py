"""Calls in text: found however the text is cut, nothing lost, in linear time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.tools.dialect import HERMES, LLAMA, MISTRAL, PYTHONIC, Dialect
from legato.tools.function import Function, ToolMode, ToolUse
from legato.tools.parts import CallArguments, CallBegin, TextPart
from legato.tools.reading import make_parser

NAMES = ("get", "add")
USE = ToolUse(tuple(Function(name, None, {}, False) for name in NAMES), ToolMode.AUTO)
DIALECTS = {d.name: d for d in (HERMES, LLAMA, MISTRAL, PYTHONIC)}


def read(dialect: Dialect, *pieces: str, use: ToolUse = USE):
    """(text, [(name, arguments)]) of an answer that came in these pieces."""
    parser = make_parser(dialect, use, prescribed=False)
    parts = [part for piece in pieces for part in parser.push(piece)] + parser.finish()
    text, calls = "", []
    for part in parts:
        match part:
            case TextPart():
                assert part.text
                text += part.text
            case CallBegin():
                assert part.index == len(calls)
                calls.append((part.name, ""))
            case CallArguments():
                assert part.index == len(calls) - 1
                calls[-1] = (calls[-1][0], calls[-1][1] + part.text)
    assert len(calls) == parser.num_calls
    return text, calls


def call(name: str = "get", arguments: str = '{"a": [1, "}"]}', key: str = "arguments") -> str:
    return f'{{"name": "{name}", "{key}": {arguments}}}'


ONE = ("", [("get", '{"a": [1, "}"]}')])
TWO = ("", [("get", '{"a": [1, "}"]}'), ("add", "{}")])
ANSWERS = {
    "hermes": (HERMES, f"<tool_call>\n{call()}\n</tool_call>", ONE),
    "hermes, two": (
        HERMES,
        f"<tool_call>\n{call()}\n</tool_call>\n<tool_call>{call('add', '{}')}</tool_call>\n",
        TWO,
    ),
    "hermes, no end": (HERMES, f"<tool_call>\n{call()}", ONE),
    "hermes, half an end": (HERMES, f"<tool_call>\n{call()}\n</tool", ONE),
    "hermes, text around": (
        HERMES,
        f"Let me see. \n<tool_call>\n{call()}\n</tool_call>\nDone\n",
        ("Let me see.Done\n", ONE[1]),
    ),
    "hermes, bare": (HERMES, f" {call()} ", ONE),
    "hermes, list": (HERMES, f"<tool_call>[{call()}, {call('add', '{}')}]</tool_call>", TWO),
    "llama": (LLAMA, call(key="parameters"), ONE),
    "llama, tagged": (LLAMA, f"<|python_tag|>{call(key='parameters')}", ONE),
    "llama, two": (LLAMA, f"{call(key='parameters')}; {call('add', '{}', 'parameters')}", TWO),
    "mistral": (MISTRAL, f"[TOOL_CALLS] [{call()}, {call('add', '{}')}]", TWO),
    "mistral, marker lost": (MISTRAL, f"[{call()},{call('add', '{}')}]", TWO),
    "mistral, text before": (MISTRAL, f"Hm [TOOL_CALLS][{call()}]", ("Hm", ONE[1])),
    "pythonic": (PYTHONIC, '[get(a=[1, "}"]), add()]', TWO),
    "pythonic, values": (
        PYTHONIC,
        r"""[get(a='it\'s', b=-1.5e3, c=[True, None, {"k": "v\n"},], d="]")]""",
        (
            "",
            [
                (
                    "get",
                    r"""{"a": "it's", "b": -1500.0, "c": [true, null, {"k": "v\n"}], "d": "]"}""",
                )
            ],
        ),
    ),
    "pythonic, text behind": (PYTHONIC, "\n[add()] ok", ("ok", [("add", "{}")])),
    "arguments first": (
        HERMES,
        '{"arguments": {"x": 1}, "name": "get"}',
        ("", [("get", '{"x": 1}')]),
    ),
    "no arguments": (HERMES, '{"name": "get"}', ("", [("get", "{}")])),
    "null arguments": (HERMES, '{"name": "get", "arguments": null}', ("", [("get", "{}")])),
    "arguments as text": (
        HERMES,
        r'{"name": "get", "arguments": "{\"x\": \"\\\"\"}"}',
        ("", [("get", r'{"x": "\""}')]),
    ),
    "other members": (
        HERMES,
        '{"id": "1", "type": "function", "name": "get"}',
        ("", [("get", "{}")]),
    ),
    "escaped name": (HERMES, r'{"n\u0061me": "g\u0065t"}', ("", [("get", "{}")])),
    "text behind arguments": (
        HERMES,
        '{"name": "get", "arguments": {} oops',
        ("oops", [("get", "{}")]),
    ),
    "cut off": (
        HERMES,
        '<tool_call>{"name": "get", "arguments": {"a": "x',
        ("", [("get", '{"a": "x')]),
    ),
}


@pytest.mark.parametrize(("dialect", "answer", "wanted"), ANSWERS.values(), ids=ANSWERS)
def test_calls_are_found(dialect, answer, wanted):
    assert read(dialect, answer) == wanted
    assert read(dialect, *answer) == wanted


TEXTS = [
    *("", "plain", " \n", "{", "[", "{}", "[]", "[1, 2]", '{"answer": 42}', "a {b} [c]"),
    *('{"name": "other", "arguments": {}}', '{"name": "get", "arguments": 5}', '{"name": 5}'),
    *('{"name": "get", "name": "add"', '{"name": "get", "more": 1}', '{"arguments": {"x": 1}}'),
    *("<tool_call>", "<tool_call></tool_call>", "<tool_call>hello</tool_call>", "<tool_cal"),
    *("<tool_call>{}</tool_call>", "<tool_call><tool_call", "a<tool<tool_b", '{"name": nul'),
    *("[TOOL_CALLS]", "[TOOL", "[TOOL_CALLS] none", "<|python_tag|>", "<|python_tag|>print(1)"),
    *("[get(1)]", "[other()]", "[get(a=f())]", "[get(a=1)", "[get(**x)]", "[x.get()]", "[" * 300),
    *("[get(a=float('nan'))]", "[get(a=1e999)]", '{"name": "\\ud800"}', "[get(a=b'x')]"),
]


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_call_stays_text(dialect, text):
    assert read(dialect, text) == (text, [])
    assert read(dialect, *text) == (text, [])


SNIPPETS = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<tool_", "[TOOL_CALLS]", "<|python_tag|>", " ", "\n"),
        *('{"name": "get", ', '"arguments": ', '{"a": 1}', "}", "]", "[", ", ", ";", '"', "\\"),
        *(call(), call("add", "{}"), call("no"), "[get(a=1)]", "text", "{", "null", "é"),
    ]
)


@given(snippets=st.lists(SNIPPETS, max_size=12), name=st.sampled_from(sorted(DIALECTS)),
       cut=st.integers(1, 7))  # fmt: skip
def test_the_result_does_not_depend_on_how_the_text_is_cut(snippets, name, cut):
    answer = "".join(snippets)
    whole = read(DIALECTS[name], answer)
    assert read(DIALECTS[name], *answer) == whole
    assert read(DIALECTS[name], *[answer[i : i + cut] for i in range(0, len(answer), cut)]) == whole


@given(snippets=st.lists(SNIPPETS, max_size=12), name=st.sampled_from(sorted(DIALECTS)))
def test_no_text_is_lost(snippets, name):
    """Every letter and digit is in the text or in a call, in order; markup alone may go."""
    answer = "".join(snippets)
    text, calls = read(DIALECTS[name], answer)
    if not calls:
        assert text == answer
    for word in ("text", "é", "no"):
        assert text.count(word) + sum(a.count(word) for _, a in calls) >= answer.count(word) - (
            answer.count("null") if word == "no" else 0
        )


def test_after_the_calls_that_are_allowed_objects_are_text():
    one = ToolUse(USE.functions, ToolMode.AUTO, parallel=False)
    text, calls = read(LLAMA, f"{call()}; {call('add', '{}')}", use=one)
    assert calls == ONE[1]
    assert json.loads(text.removeprefix(";"))["name"] == "add"
    assert read(PYTHONIC, "[get(), add()]", use=one) == ("[get(), add()]", [])


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize(
    "text", ["<" * 15_000, "{" * 15_000, "[" * 15_000, " " * 15_000, "<tool_call>" * 1_500,
             '{"name": "' * 1_500, '{"arguments": {' * 1_500, "[get(" * 3_000, "\\" * 15_000]
)  # fmt: skip
def test_long_nonsense_takes_linear_time_and_stays_text(dialect, text):
    assert read(dialect, text, text) == (text * 2, [])
    assert read(dialect, *text) == (text, [])


def test_arguments_come_as_they_are_written():
    parser = make_parser(HERMES, USE, prescribed=False)
    assert parser.push('<tool_call>{"name": "get", "arg') == []
    assert parser.push('uments": {"a"') == [CallBegin(0, "get"), CallArguments(0, '{"a"')]
    assert parser.push(": 1") == [CallArguments(0, ": 1")]
    assert parser.push("}}</tool_call>") == [CallArguments(0, "}")]
    assert parser.finish() == []
