"""The functions that a model may call, and whether it must."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model may call.

    Attributes:
        parameters: JSON schema of its arguments, of type object.
        strict: its arguments must fit the schema, and every keyword of it holds.
        prescribed: its arguments must fit as far as the schema can be enforced. Where it is
            neither, the model is trusted.
        param: the field of the request that holds its schema, for errors.
    """

    name: str
    description: str | None
    parameters: Mapping[str, Any]
    strict: bool
    prescribed: bool = False
    param: str = "tools"

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
