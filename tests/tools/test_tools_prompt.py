"""Functions for models whose template knows none, and which dialect a template shows."""

from __future__ import annotations

import json

import pytest

from legato.tools.dialect import HERMES, LLAMA, MISTRAL, PYTHONIC, ToolStyle, style_of
from legato.tools.function import ToolMode, ToolUse
from legato.tools.parse import parse_tools
from legato.tools.parts import CallArguments, CallBegin
from legato.tools.prompt import plain_messages
from legato.tools.reading import make_parser

FUNCTIONS = parse_tools(
    [{"type": "function", "function": {"name": "get", "description": "Gets ü", "parameters": {}}}]
)
CALL = {"id": "c", "type": "function", "function": {"name": "get", "arguments": {"a": "ü"}}}


def user(text):
    return {"role": "user", "content": text}


def test_functions_are_described_in_the_system_message():
    (system, asked) = plain_messages([user("hi")], FUNCTIONS)
    assert system["role"] == "system"
    assert json.loads(system["content"].splitlines()[-1])["description"] == "Gets ü"
    assert asked == user("hi")
    (system, _) = plain_messages([{"role": "system", "content": "Be kind."}, user("hi")], FUNCTIONS)
    assert system["content"].startswith("Be kind.\n\n")


def test_calls_are_written_as_the_model_is_asked_to_write_them():
    messages = [user("hi"), {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}]
    written = plain_messages(messages, FUNCTIONS)[-1]["content"]
    use = ToolUse(FUNCTIONS, ToolMode.AUTO)
    parts = make_parser(HERMES, use, prescribed=False).push(written)
    assert parts == [
        part
        for index in range(2)
        for part in (CallBegin(index, "get"), CallArguments(index, '{"a": "ü"}'))
    ]


def test_results_become_messages_of_the_user_and_turns_alternate():
    result = {"role": "tool", "tool_call_id": "c", "content": "7"}
    said = {"role": "assistant", "content": "Wait.", "tool_calls": [CALL]}
    plain = plain_messages([user("hi"), said, result, result, user("so?")], ())
    assert [message["role"] for message in plain] == ["user", "assistant", "user"]
    assert plain[1]["content"].startswith("Wait.\n<tool_call>")
    response = "<tool_response>\n7\n</tool_response>"
    assert plain[2]["content"] == f"{response}\n{response}\nso?"


def test_ordinary_conversations_stay_as_they_are():
    messages = [user("a"), user("b"), {"role": "assistant", "content": "c"}]
    assert plain_messages(messages, ()) == messages


@pytest.mark.parametrize(
    ("template", "style"),
    [
        (None, ToolStyle(HERMES, native=False)),
        ("{{ messages }}", ToolStyle(HERMES, native=False)),
        ("{% if tools %}<tool_call>{% endif %}", ToolStyle(HERMES, native=True)),
        ("{% if tools %}[AVAILABLE_TOOLS][TOOL_CALLS]{% endif %}", ToolStyle(MISTRAL, native=True)),
        ("{% if tools %}<|python_tag|>{% endif %}", ToolStyle(LLAMA, native=True)),
        ("{% if tools %}[func_name1(p=v)]{% endif %}", ToolStyle(PYTHONIC, native=True)),
        ("{% if tools %}…{% endif %}", ToolStyle(HERMES, native=True)),
    ],
)
def test_a_template_shows_how_its_model_calls(template, style):
    assert style_of(template) == style
