"""The functions that a model may call, and whether it must."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Any, NoReturn

from legato.constrain.schema import check_schema
from legato.errors import InvalidRequestError

MAX_FUNCTIONS = 128
MAX_FUNCTIONS_TEXT = 262_144
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MEMBERS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "description": (str, NoneType),
    "parameters": (dict, NoneType),
    "strict": (bool, NoneType),
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model may call.

    Attributes:
        parameters: JSON schema of its arguments, of type object.
        strict: its arguments must fit the schema; otherwise the model is trusted.
    """

    name: str
    description: str | None
    parameters: Mapping[str, Any]
    strict: bool

    @property
    def tool(self) -> dict[str, Any]:
        """The form in which chat templates expect it."""
        shown = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": {k: v for k, v in shown.items() if v is not None}}


class ToolMode(StrEnum):
    """Whether the model calls."""

    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What one request offers.

    Attributes:
        functions: those that may be called; empty where none may.
        mode: whether one must be.
        parallel: several calls may come in one answer.
    """

    functions: tuple[Function, ...] = ()
    mode: ToolMode = ToolMode.NONE
    parallel: bool = True

    @property
    def names(self) -> frozenset[str]:
        """Names of the functions."""
        return frozenset(function.name for function in self.functions)


NO_TOOLS = ToolUse()


def parse_tools(value: object) -> tuple[Function, ...]:
    """The functions of OpenAI's ``tools`` list.

    Raises InvalidRequestError whose `param` is the path of the member at fault.
    """
    if not isinstance(value, list):
        _refuse("should be a list", "tools")
    if not value:
        _refuse("should not be empty", "tools")
    if len(value) > MAX_FUNCTIONS:
        _refuse(f"may hold at most {MAX_FUNCTIONS} tools", "tools")
    functions = tuple(_parsed_tool(item, f"tools[{i}]") for i, item in enumerate(value))
    for i, function in enumerate(functions):
        if function.name in {earlier.name for earlier in functions[:i]}:
            _refuse(f"has the name {function.name} again", f"tools[{i}].function.name")
    if len(json.dumps(value)) > MAX_FUNCTIONS_TEXT:
        _refuse(f"may have at most {MAX_FUNCTIONS_TEXT} characters", "tools")
    return functions


def parse_tool_use(
    functions: tuple[Function, ...], choice: object, parallel: bool | None
) -> ToolUse:
    """What `tools`, `tool_choice` and `parallel_tool_calls` say together.

    Raises InvalidRequestError for a choice that is none of the known ones or names no tool.
    """
    if not functions:
        if choice not in (None, "none"):
            _refuse("needs tools", "tool_choice")
        if parallel is not None:
            _refuse("needs tools", "parallel_tool_calls")
        return NO_TOOLS
    if choice == "none":
        return NO_TOOLS
    if choice in (None, "auto", "required"):
        return ToolUse(functions, ToolMode(str(choice or "auto")), parallel is not False)
    name = _chosen_name(choice)
    named = tuple(function for function in functions if function.name == name)
    if not named:
        _refuse("names a function that is not among the tools", "tool_choice")
    return ToolUse(named, ToolMode.REQUIRED, False)


def _parsed_tool(value: object, where: str) -> Function:
    if not isinstance(value, dict) or not value.keys() <= {"type", "function"}:
        _refuse("should be an object with a type and a function", where)
    if value.get("type") != "function":
        _refuse("should be 'function'; no other tools are supported", f"{where}.type")
    where = f"{where}.function"
    function = value.get("function")
    if not isinstance(function, dict):
        _refuse("should be an object", where)
    for unknown in function.keys() - _MEMBERS.keys():
        _refuse("is not known", f"{where}.{str(unknown)[:32]}")
    for name, kinds in _MEMBERS.items():
        if not isinstance(function.get(name), kinds):
            _refuse("is missing or of the wrong type", f"{where}.{name}")
    if not _NAME.fullmatch(function["name"]):
        _refuse("should be 1 to 64 letters, digits, _ and -", f"{where}.name")
    return Function(
        function["name"],
        function.get("description"),
        _parsed_parameters(function.get("parameters") or {}, f"{where}.parameters"),
        bool(function.get("strict")),
    )


def _parsed_parameters(schema: dict[str, Any], where: str) -> dict[str, Any]:
    check_schema(schema, where)
    if schema.get("type", "object") != "object":
        _refuse("should be a schema of type object", where)
    return {"type": "object", "properties": {}, **schema}


def _chosen_name(choice: object) -> object:
    function = choice.get("function") if isinstance(choice, dict) else None
    if choice != {"type": "function", "function": function} or not isinstance(function, dict):
        _refuse("should be none, auto, required or {type: function, function: {name}}",
                "tool_choice")  # fmt: skip
    if function.keys() != {"name"}:
        _refuse("should have a function with a name", "tool_choice")
    return function["name"]


def _refuse(message: str, param: str) -> NoReturn:
    raise InvalidRequestError(f"{param} {message}", param)
