"""What the input of /v1/responses consists of: messages, calls of functions, and their results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag

from legato.server.fields import ResponseText
from legato.server.strict import Strict
from legato.server.tool_request import ArgumentsText, FunctionName, ToolCallId

ItemId = Annotated[
    Annotated[str, StringConstraints(max_length=256)] | None,
    Field(description="Taken, without effect."),
]
ItemStatus = Annotated[
    Literal["completed", "incomplete", "in_progress"] | None,
    Field(description="Taken, without effect."),
]


def _known_type(value: object) -> object:
    if value != "message":
        raise ValueError("should be message, function_call or function_call_output")
    return value


class InputItem(Strict):
    """One turn; an item of an earlier answer's `output` may be given back as it came."""

    type: Annotated[Literal["message"], BeforeValidator(_known_type)] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: ResponseText = Field(description="Text, or text parts, which are joined.")
    id: ItemId = None
    status: ItemStatus = None

    def add_to(self, turns: list[dict[str, Any]]) -> None:
        """One more turn."""
        role = "system" if self.role == "developer" else self.role
        turns.append({"role": role, "content": self.content})


class CallItem(Strict):
    """A call of an earlier answer, as it came."""

    type: Literal["function_call"]
    call_id: ToolCallId
    name: FunctionName
    arguments: ArgumentsText = Field(description="JSON text.")
    id: ItemId = None
    status: ItemStatus = None

    def add_to(self, turns: list[dict[str, Any]]) -> None:
        """A part of the assistant's turn."""
        if not turns or turns[-1]["role"] != "assistant":
            turns.append({"role": "assistant", "content": None})
        function = {"name": self.name, "arguments": self.arguments}
        call = {"id": self.call_id, "type": "function", "function": function}
        turns[-1].setdefault("tool_calls", []).append(call)


class CallOutputItem(Strict):
    """What a call gave."""

    type: Literal["function_call_output"]
    call_id: ToolCallId = Field(description="Of the call that it answers.")
    output: ResponseText = Field(description="Text, or text parts, which are joined.")
    id: ItemId = None
    status: ItemStatus = None

    def add_to(self, turns: list[dict[str, Any]]) -> None:
        """One more turn."""
        turns.append({"role": "tool", "tool_call_id": self.call_id, "content": self.output})


_KINDS = {"function_call": "<call>", "function_call_output": "<output>"}
_MESSAGE = "<message>"
TAGS = frozenset({_MESSAGE, *_KINDS.values()})
"""Steps of pydantic's paths that are no part of the request."""


def _kind(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return _KINDS.get(kind, _MESSAGE) if isinstance(kind, str) else _MESSAGE


Item = Annotated[
    Annotated[InputItem, Tag(_MESSAGE)]
    | Annotated[CallItem, Tag("<call>")]
    | Annotated[CallOutputItem, Tag("<output>")],
    Discriminator(_kind),
]


def _as_items(value: object) -> object:
    """A text is one message of the user."""
    if value == "":
        raise ValueError("should not be empty")
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


InputItems = Annotated[
    tuple[Item, ...], BeforeValidator(_as_items, json_schema_input_type=str | tuple[Item, ...])
]


def turns_of(items: Sequence[InputItem | CallItem | CallOutputItem]) -> list[dict[str, Any]]:
    """The conversation as a chat template takes it."""
    turns: list[dict[str, Any]] = []
    for item in items:
        item.add_to(turns)
    return turns
