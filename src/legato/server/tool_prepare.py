"""What offering functions does to a request: to its messages, and to the form of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from legato.constrain.form import OutputForm, json_schema
from legato.core import Constraint
from legato.errors import InvalidRequestError
from legato.server.service import Service
from legato.text.chat_messages import normalised_messages
from legato.tools.dialect import ToolStyle
from legato.tools.function import ToolUse
from legato.tools.grammar import tool_form
from legato.tools.prompt import plain_messages
from legato.tools.reading import written_dialect

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


async def tool_constraint(
    service: Service, use: ToolUse, content: OutputForm | None
) -> Constraint | None:
    """What an answer that may call functions may be; compiled off the event loop.

    Raises InvalidRequestError that names the function whose schema is at fault, where it is one.
    """
    dialect = written_dialect(service.tools.dialect, prescribed=True)
    form = tool_form(use, dialect, content)
    if form is None:
        return None
    try:
        return await service.grammars.compiled(form)
    except InvalidRequestError:
        for place, function in enumerate(use.functions):
            param = f"tools[{place}].function.parameters"
            await service.grammars.compiled(
                json_schema(function.parameters, strict=function.strict, param=param)
            )
        raise
