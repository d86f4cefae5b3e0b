"""Chat messages in the one form that templates are given, every field checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from legato.errors import InvalidRequestError

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def normalised_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`messages` with content as one string and tool-call arguments as objects.

    Content may be a string or a list of ``{"type": "text", "text": …}`` parts, which are joined;
    it may be missing only where an assistant calls tools.

    Raises:
        InvalidRequestError: whose `param` is the path of the field at fault.
    """
    if not messages:
        raise InvalidRequestError("messages is empty; send at least one message", "messages")
    normalised = []
    has_calls = False
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        normalised.append(_normalised(message, where))
        has_calls = has_calls or "tool_calls" in normalised[-1]
        if normalised[-1]["role"] == "tool" and not has_calls:
            raise InvalidRequestError(
                f"{where} answers a tool call, but no message before it has tool_calls", where
            )
    return normalised


def _normalised(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise InvalidRequestError(f"{where} is not an object", where)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidRequestError(
            f"{where}.role is {role!r}; it is one of {', '.join(sorted(ROLES))}", f"{where}.role"
        )
    result = {key: value for key, value in message.items() if value is not None}
    if "tool_calls" in result:
        result["tool_calls"] = _tool_calls(result["tool_calls"], f"{where}.tool_calls")
    result["content"] = _content(message, "tool_calls" in result, f"{where}.content")
    return result


def _content(message: Mapping[str, Any], calls_tools: bool, where: str) -> str | None:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part_text(part, f"{where}[{j}]") for j, part in enumerate(content))
    if content is None and calls_tools:
        return None
    raise InvalidRequestError(f"{where} is neither a string nor a list of text parts", where)


def _part_text(part: object, where: str) -> str:
    fields = part if isinstance(part, Mapping) else {}
    if fields.get("type") != "text":
        raise InvalidRequestError(
            f"{where} has the type {fields.get('type')!r}; only parts of type 'text' are supported",
            where,
        )
    text = fields.get("text")
    if not isinstance(text, str):
        raise InvalidRequestError(f"{where}.text is not a string", f"{where}.text")
    return text


def _tool_calls(calls: object, where: str) -> list[dict[str, Any]]:
    if not isinstance(calls, list) or not calls:
        raise InvalidRequestError(f"{where} is not a list of calls", where)
    return [_tool_call(call, f"{where}[{j}]") for j, call in enumerate(calls)]


def _tool_call(call: object, where: str) -> dict[str, Any]:
    fields = call if isinstance(call, Mapping) else {}
    function = fields.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidRequestError(f"{where}.function has no name", f"{where}.function")
    arguments = _arguments(function.get("arguments", {}), f"{where}.function.arguments")
    return {**fields, "function": {**function, "arguments": arguments}}


def _arguments(arguments: object, where: str) -> object:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        raise InvalidRequestError(f"{where} is not JSON", where) from None
