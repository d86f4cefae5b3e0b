"""The fields of chat that offer functions, and the parts of messages that call and answer them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

from legato.constrain.schema import MAX_DEPTH, MAX_VALUES, check_size
from legato.errors import InvalidRequestError
from legato.server.json_schema import NAME, NAME_PATTERN, nullable, object_of
from legato.server.strict import Strict
from legato.tools.function import Function, ToolUse
from legato.tools.parse import MAX_FUNCTIONS, RESPONSES, parse_tool_use, parse_tools

MAX_CALLS = 128


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


FunctionName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ArgumentsText = Annotated[str, AfterValidator(_json_object)]


class CalledFunction(Strict):
    """What a call of an earlier answer called."""

    name: FunctionName
    arguments: ArgumentsText


class ToolCall(Strict):
    """A call of an earlier answer, as it came."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    type: Literal["function"] = "function"
    function: CalledFunction


ToolCalls = Annotated[tuple[ToolCall, ...], Field(strict=False, min_length=1, max_length=MAX_CALLS)]
ToolCallId = Annotated[str, StringConstraints(min_length=1, max_length=256)]

_MEMBERS = {
    "name": NAME,
    "description": nullable("string"),
    "parameters": nullable("object"),
    "strict": nullable("boolean"),
}


def _tool_schema(*, nested: bool, **members: object) -> dict[str, Any]:
    """A function with these members, of which its name is needed."""
    kind = {"const": "function"}
    if not nested:
        return object_of(["type", "name"], type=kind, **members)
    return object_of(["type", "function"], type=kind, function=object_of(["name"], **members))


def _choice_schema(*, nested: bool) -> dict[str, Any]:
    named = _tool_schema(nested=nested, name=NAME)
    members = {
        "mode": {"enum": ["auto", "required"]},
        "tools": {"type": "array", "items": named, "minItems": 1},
    }
    kind = {"const": "allowed_tools"}
    if nested:
        allowed = object_of(
            ["type", "allowed_tools"], type=kind, allowed_tools=object_of([*members], **members)
        )
    else:
        allowed = object_of(["type", *members], type=kind, **members)
    return {"anyOf": [{"enum": ["none", "auto", "required"]}, named, allowed]}


def _tools_schema(*, nested: bool) -> dict[str, Any]:
    items = _tool_schema(nested=nested, **_MEMBERS)
    return {"type": "array", "items": items, "minItems": int(nested), "maxItems": MAX_FUNCTIONS}


Tools = Annotated[
    tuple[Function, ...],
    PlainValidator(parse_tools),
    WithJsonSchema(_tools_schema(nested=True)),
]
ToolChoice = Annotated[
    Any,
    PlainValidator(lambda value: value),  # it depends on the tools: see `ToolFields.tool_use`
    WithJsonSchema(_choice_schema(nested=True)),
]


class ResponseTools(NamedTuple):
    """The tools of /v1/responses, and how an answer repeats them."""

    functions: tuple[Function, ...]
    given: list[dict[str, Any]]


def _parsed_response_tools(value: object) -> ResponseTools:
    functions = parse_tools(value, RESPONSES)
    return ResponseTools(functions, [_repeated(function) for function in functions])


def _repeated(function: Function) -> dict[str, Any]:
    return {
        "type": "function",
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
        "strict": function.strict or function.prescribed,
    }


class ToolFields(Strict):
    """Functions that the model may call."""

    tools: Tools = Field((), description="Up to 128 functions with JSON schemas.")
    tool_choice: ToolChoice = Field(
        None, description="none, auto, required, one function, or some of them; needs tools."
    )
    parallel_tool_calls: bool | None = Field(
        None, description="False: at most one call; needs tools."
    )

    @property
    def tool_use(self) -> ToolUse:
        """What the three say together; InvalidRequestError where they do not agree."""
        return parse_tool_use(self.tools, self.tool_choice, self.parallel_tool_calls)


class ResponseToolFields(Strict):
    """The same as /v1/responses writes it."""

    tools: Annotated[
        ResponseTools,
        PlainValidator(_parsed_response_tools),
        WithJsonSchema(_tools_schema(nested=False)),
    ] = Field(ResponseTools((), []), description="Up to 128 functions with JSON schemas.")
    tool_choice: Annotated[
        Any,
        PlainValidator(lambda value: value),
        WithJsonSchema(_choice_schema(nested=False)),
    ] = Field("auto", description="none, auto, required, one function, or some of them.")
    parallel_tool_calls: bool = Field(True, description="False: at most one call.")

    @property
    def tool_use(self) -> ToolUse:
        """What the three say together; InvalidRequestError where they do not agree."""
        given = self.tools.functions
        return parse_tool_use(given, self.tool_choice, self.parallel_tool_calls, RESPONSES)
