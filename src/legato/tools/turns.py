"""Whether calls and their results belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from legato.errors import InvalidRequestError


def check_calls(turns: Sequence[Mapping[str, Any]], *, adjacent: bool) -> None:
    """InvalidRequestError unless every call has one result and every result a call before it.

    Args:
        turns: messages in the form of chat, with ids in every call and result.
        adjacent: results follow the message that calls, before any other message.
    """
    unanswered: set[str] = set()
    for index, turn in enumerate(turns):
        if turn["role"] == "tool":
            call_id = turn["tool_call_id"]
            if call_id not in unanswered:
                _refuse(f"messages[{index}] answers no tool call before it", index)
            unanswered.remove(call_id)
            continue
        if adjacent and unanswered:
            _refuse(f"tool calls before messages[{index}] have no answer", index)
        unanswered |= {call["id"] for call in turn.get("tool_calls", ())}
    if unanswered:
        _refuse("the last tool calls have no answer", len(turns) - 1)


def _refuse(message: str, index: int) -> NoReturn:
    raise InvalidRequestError(message, f"messages[{index}]")
