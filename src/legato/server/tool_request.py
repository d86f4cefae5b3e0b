"""The fields of chat that offer functions, and the parts of messages that call and answer them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

from legato.constrain.schema import MAX_DEPTH, MAX_VALUES, check_size
from legato.errors import InvalidRequestError
from legato.server.strict import Strict
from legato.tools.function import MAX_FUNCTIONS, Function, ToolUse, parse_tool_use, parse_tools

MAX_CALLS = 128
_NAME = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}


def _json_object(text: str) -> str:
    try:
        value = json.loads(text)
        check_size(value, "")
    except (ValueError, RecursionError):
        raise ValueError("should be a JSON object as text") from None
    except InvalidRequestError:
        raise ValueError(f"should have at most {MAX_DEPTH} levels, {MAX_VALUES} values") from None
    if not isinstance(value, dict):
        raise ValueError("should be a JSON object as text")
    return text


class CalledFunction(Strict):
    """What a call of an earlier answer called."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    arguments: Annotated[str, AfterValidator(_json_object)]


class ToolCall(Strict):
    """A call of an earlier answer, as it came."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    type: Literal["function"] = "function"
    function: CalledFunction


ToolCalls = Annotated[tuple[ToolCall, ...], Field(strict=False, min_length=1, max_length=MAX_CALLS)]
ToolCallId = Annotated[str, StringConstraints(min_length=1, max_length=256)]

_FUNCTION = {
    "type": "object",
    "properties": {
        "name": _NAME,
        "description": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "parameters": {"anyOf": [{"type": "object"}, {"type": "null"}]},
        "strict": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}
_TOOL = {
    "type": "object",
    "properties": {"type": {"const": "function"}, "function": _FUNCTION},
    "required": ["type", "function"],
    "additionalProperties": False,
}
_NAMED = {
    "type": "object",
    "properties": {
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "properties": {"name": _NAME},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
    "required": ["type", "function"],
    "additionalProperties": False,
}
Tools = Annotated[
    tuple[Function, ...],
    PlainValidator(parse_tools),
    WithJsonSchema(
        {"type": "array", "items": _TOOL, "minItems": 1, "maxItems": MAX_FUNCTIONS},
    ),
]
ToolChoice = Annotated[
    Any,
    PlainValidator(lambda value: value),  # it depends on the tools: see `ToolFields.tool_use`
    WithJsonSchema({"anyOf": [{"enum": ["none", "auto", "required"]}, _NAMED]}),
]


class ToolFields(Strict):
    """Functions that the model may call."""

    tools: Tools = Field((), description="Up to 128 functions with JSON schemas.")
    tool_choice: ToolChoice = Field(
        None, description="none, auto, required, or one function by name; needs tools."
    )
    parallel_tool_calls: bool | None = Field(
        None, description="False: at most one call; needs tools."
    )

    @property
    def tool_use(self) -> ToolUse:
        """What the three say together; InvalidRequestError where they do not agree."""
        return parse_tool_use(self.tools, self.tool_choice, self.parallel_tool_calls)
