"""What offering functions does to the form of an answer."""

from __future__ import annotations

from legato.constrain.form import OutputForm, json_schema
from legato.core import Constraint
from legato.errors import InvalidRequestError
from legato.server.service import Service
from legato.tools.function import ToolUse
from legato.tools.grammar import tool_form
from legato.tools.reading import written_dialect


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
        for function in use.functions:
            await service.grammars.compiled(
                json_schema(function.parameters, strict=function.strict, param=function.param)
            )
        raise
