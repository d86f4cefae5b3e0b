"""Functions and calls in the words of an ordinary conversation.

For models whose chat template does not know tools: the functions go into the system message, past
calls into the assistant's text, and results into messages of the user.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from legato.tools.dialect import HERMES
from legato.tools.function import Function

Message = Mapping[str, Any]

_INTRODUCTION = (
    "You can call functions. They are described below, one JSON object a line.\n"
    "To call one, answer with nothing but\n"
    f'{HERMES.opens}\n{{"name": "the function", "arguments": {{…}}}}\n{HERMES.closes}\n'
    "Results come back between <tool_response> and </tool_response>. "
    "Answer in words when no function helps.\n"
)


def plain_messages(
    messages: Sequence[Message], functions: Sequence[Function]
) -> list[dict[str, Any]]:
    """`messages` as a template without tools takes them, with `functions` described to the model.

    `messages` are normalised (see `text.chat_messages`). Neighbouring messages of the user are
    joined where one of them is a result, since such templates want turns to alternate.
    """
    plain: list[dict[str, Any]] = []
    joins = False
    for message in messages:
        is_result = message["role"] == "tool"
        turn = _plain(message)
        if plain and turn["role"] == plain[-1]["role"] == "user" and (is_result or joins):
            plain[-1]["content"] += "\n" + turn["content"]
        else:
            plain.append(turn)
        joins = is_result
    return _introduced(plain, functions) if functions else plain


def _plain(message: Message) -> dict[str, Any]:
    role, content = message["role"], message["content"] or ""
    if role == "tool":
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    calls = message.get("tool_calls")
    if calls:
        content = "\n".join(filter(None, [content, *_written(calls)]))
    return {"role": role, "content": content}


def _written(calls: Iterable[Message]) -> Iterable[str]:
    for call in calls:
        function = call["function"]
        text = json.dumps(
            {"name": function["name"], "arguments": function["arguments"]}, ensure_ascii=False
        )
        yield f"{HERMES.opens}\n{text}\n{HERMES.closes}"


def _introduced(
    messages: list[dict[str, Any]], functions: Sequence[Function]
) -> list[dict[str, Any]]:
    described = [json.dumps(f.tool["function"], ensure_ascii=False) for f in functions]
    text = _INTRODUCTION + "\n".join(described)
    first = messages[0]
    if first["role"] == "system":
        return [{**first, "content": f"{first['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]
