from __future__ import annotations

import pytest

from legato.errors import InvalidRequestError
from legato.text.chat_messages import normalised_messages

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def test_text_parts_are_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert normalised_messages([{"role": "user", "content": parts}]) == [
        {"role": "user", "content": "ab"}
    ]


def test_tool_arguments_become_objects():
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "2"},
    ]
    called, answer = normalised_messages(messages)
    assert called["tool_calls"][0]["function"] == {"name": "f", "arguments": {"x": 1}}
    assert called["content"] is None
    assert answer["content"] == "2"


def test_the_callers_messages_are_left_as_they_are():
    messages = [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    normalised_messages(messages)
    assert messages == [{"role": "assistant", "content": None, "tool_calls": [CALL]}]


def calling(**function):
    return [{"role": "assistant", "tool_calls": [{"function": function}]}]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        (["hi"], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "king", "content": "x"}], "messages[0].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}],
         "messages[0].content[1]"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}],
         "messages[0].content[0].text"),
        ([{"role": "tool", "content": "2"}], "messages[0]"),
        ([{"role": "assistant", "tool_calls": []}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [1]}], "messages[0].tool_calls[0].function"),
        (calling(arguments="{}"), "messages[0].tool_calls[0].function"),
        (calling(name="f", arguments="{x"), "messages[0].tool_calls[0].function.arguments"),
        (calling(name="f", arguments="[" * 10**5),
         "messages[0].tool_calls[0].function.arguments"),
    ],
)  # fmt: skip
def test_a_malformed_field_is_named(messages, param):
    with pytest.raises(InvalidRequestError) as caught:
        normalised_messages(messages)
    assert caught.value.param == param
