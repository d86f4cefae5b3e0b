"""What a request says about functions, as OpenAI's two APIs write it.

Chat puts a function into a member of its own, ``{"type": "function", "function": {"name": …}}``;
/v1/responses writes ``{"type": "function", "name": …}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, NoReturn

from legato.constrain.schema import check_schema
from legato.errors import InvalidRequestError
from legato.tools.function import NO_TOOLS, Function, ToolMode, ToolUse

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
class Notation:
    """How an API writes functions.

    Attributes:
        nested: in a member named ``function``.
        prescribes: the arguments of a function that does not say whether it is strict are held
            to its schema, as far as that can be enforced.
    """

    nested: bool = True
    prescribes: bool = False


CHAT = Notation()
RESPONSES = Notation(nested=False, prescribes=True)


def parse_tools(value: object, notation: Notation = CHAT) -> tuple[Function, ...]:
    """The functions of a ``tools`` list.

    Raises InvalidRequestError whose `param` is the path of the member at fault.
    """
    if not isinstance(value, list):
        _refuse("should be a list", "tools")
    if not value and notation.nested:
        _refuse("should not be empty", "tools")
    if len(value) > MAX_FUNCTIONS:
        _refuse(f"may hold at most {MAX_FUNCTIONS} tools", "tools")
    functions = tuple(_parsed(item, f"tools[{i}]", notation) for i, item in enumerate(value))
    names: set[str] = set()
    for i, function in enumerate(functions):
        if function.name in names:
            where = f"tools[{i}].function" if notation.nested else f"tools[{i}]"
            _refuse(f"has the name {function.name} again", f"{where}.name")
        names.add(function.name)
    if len(json.dumps(value)) > MAX_FUNCTIONS_TEXT:
        _refuse(f"may have at most {MAX_FUNCTIONS_TEXT} characters", "tools")
    return functions


def parse_tool_use(
    functions: tuple[Function, ...],
    choice: object,
    parallel: bool | None,
    notation: Notation = CHAT,
) -> ToolUse:
    """What `tools`, `tool_choice` and `parallel_tool_calls` say together.

    Raises InvalidRequestError for a choice that is none of the known ones or names no tool.
    """
    if not functions:
        idle = (None, "none") if notation.nested else (None, "none", "auto")
        if not any(choice == word for word in idle):
            _refuse("needs tools", "tool_choice")
        if parallel is not None and notation.nested:
            _refuse("needs tools", "parallel_tool_calls")
        return NO_TOOLS
    several = parallel is not False
    match choice:
        case "none":
            return NO_TOOLS
        case None | "auto" | "required":
            return ToolUse(functions, ToolMode(choice or "auto"), several)
        case dict() if choice.get("type") == "allowed_tools":
            return _allowed(functions, choice, several, notation)
    return ToolUse(_named(functions, [choice], notation), ToolMode.REQUIRED, False)


def _allowed(
    functions: tuple[Function, ...], choice: Mapping[str, Any], several: bool, notation: Notation
) -> ToolUse:
    """Some of the functions: ``{"mode": …, "tools": […]}``."""
    members: object = {key: item for key, item in choice.items() if key != "type"}
    if notation.nested:
        members = (
            choice.get("allowed_tools") if choice.keys() == {"type", "allowed_tools"} else None
        )
    if not isinstance(members, dict) or members.keys() != {"mode", "tools"}:
        _refuse("of type allowed_tools should have a mode and tools", "tool_choice")
    mode, tools = members["mode"], members["tools"]
    if mode not in ("auto", "required") or not isinstance(tools, list) or not tools:
        _refuse("should have the mode auto or required and a list of tools", "tool_choice")
    return ToolUse(_named(functions, tools, notation), ToolMode(mode), several)


def _named(
    functions: tuple[Function, ...], references: Sequence[object], notation: Notation
) -> tuple[Function, ...]:
    """The functions that `references` name."""
    names = {_name(reference, notation) for reference in references}
    if not names <= {function.name for function in functions}:
        _refuse("names a function that is not among the tools", "tool_choice")
    return tuple(function for function in functions if function.name in names)


def _name(reference: object, notation: Notation) -> str:
    try:
        members, _ = _members(reference, "tool_choice", notation)
    except InvalidRequestError:
        members = {}
    if members.keys() != {"name"} or not isinstance(members["name"], str):
        shape = (
            "{type: function, function: {name}}" if notation.nested else "{type: function, name}"
        )
        _refuse(f"should be none, auto, required, {shape} or allowed_tools", "tool_choice")
    return str(members["name"])


def _members(value: object, where: str, notation: Notation) -> tuple[dict[str, Any], str]:
    """What `value` says about a function, and where it says it."""
    if not isinstance(value, dict):
        _refuse("should be an object with a type", where)
    if value.get("type") != "function":
        _refuse("should be 'function'; no other tools are supported", f"{where}.type")
    if not notation.nested:
        return {key: item for key, item in value.items() if key != "type"}, where
    if not value.keys() <= {"type", "function"}:
        _refuse("should have a type, a function and nothing else", where)
    if not isinstance(value.get("function"), dict):
        _refuse("should be an object", f"{where}.function")
    return value["function"], f"{where}.function"


def _parsed(value: object, where: str, notation: Notation) -> Function:
    members, where = _members(value, where, notation)
    for unknown in members.keys() - _MEMBERS.keys():
        _refuse("is not known", f"{where}.{str(unknown)[:32]}")
    for name, kinds in _MEMBERS.items():
        if not isinstance(members.get(name), kinds):
            _refuse("is missing or of the wrong type", f"{where}.{name}")
    if not _NAME.fullmatch(members["name"]):
        _refuse("should be 1 to 64 letters, digits, _ and -", f"{where}.name")
    strict, param = members.get("strict"), f"{where}.parameters"
    return Function(
        members["name"],
        members.get("description"),
        _parsed_parameters(members.get("parameters") or {}, param),
        bool(strict),
        prescribed=strict is None and notation.prescribes,
        param=param,
    )


def _parsed_parameters(schema: dict[str, Any], where: str) -> dict[str, Any]:
    check_schema(schema, where)
    if schema.get("type", "object") != "object":
        _refuse("should be a schema of type object", where)
    return {"type": "object", "properties": {}, **schema}


def _refuse(message: str, param: str) -> NoReturn:
    raise InvalidRequestError(f"{param} {message}", param)
