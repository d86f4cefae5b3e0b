"""What a chat template is given where functions are offered or were called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from legato.text.chat_messages import normalised_messages
from legato.tools.dialect import ToolStyle
from legato.tools.function import ToolUse
from legato.tools.prompt import plain_messages

Turns = Sequence[Mapping[str, Any]]


def shown_tools(
    style: ToolStyle, turns: Turns, use: ToolUse
) -> tuple[Turns, list[dict[str, Any]] | None]:
    """The messages and the tools that the chat template is given."""
    if style.native:
        return turns, [function.tool for function in use.functions] or None
    if use.functions or any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns):
        return plain_messages(normalised_messages(turns), use.functions), None
    return turns, None
