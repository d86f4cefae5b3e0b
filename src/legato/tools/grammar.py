"""Grammars of answers that call functions, so that calls are whole and fit their schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from legato.constrain.compiler import json_options
from legato.constrain.form import MAX_SCHEMA, FormKind, OutputForm, quoted
from legato.errors import InvalidRequestError
from legato.tools.dialect import Dialect
from legato.tools.function import Function, ToolMode, ToolUse

MAX_CALLS = 32
"""Most calls that a grammar lets one answer make, so that it ends."""
_TEXT = r"/(.|\n)*/"
_PLAIN = r"/([^\s{\[](.|\n)*)?/"
"""Text that is not taken for a bare call."""


def tool_form(use: ToolUse, dialect: Dialect, content: OutputForm | None) -> OutputForm | None:
    """The language of the answer; None where nothing is prescribed.

    Calls are prescribed where the request requires one, where a function is strict or prescribed,
    where at most one call may come, and where an answer without calls has a form (`content`).

    Args:
        use: the functions, at least one.
        dialect: a JSON dialect.
        content: the form of an answer without calls.

    Raises InvalidRequestError where `content` is no JSON schema and calls may come instead.
    """
    if use.mode is ToolMode.AUTO and content is None and not _is_bound(use):
        return None
    text = "\n".join([*_answer_rules(use, dialect, content), *_call_rules(use, dialect)])
    if len(text) > MAX_SCHEMA:
        raise InvalidRequestError(
            f"the schemas of the tools have more than {MAX_SCHEMA} characters together", "tools"
        )
    return OutputForm(FormKind.LARK, text, True, "tools")


def _is_bound(use: ToolUse) -> bool:
    return not use.parallel or any(f.strict or f.prescribed for f in use.functions)


def _answer_rules(use: ToolUse, dialect: Dialect, content: OutputForm | None) -> list[str]:
    """Rules from ``start`` down to ``calls`` or ``body``."""
    if use.mode is ToolMode.REQUIRED:
        return ["start: calls"]
    if content is not None:
        return ["start: content | calls", f"content: {_content(content)}"]
    if not dialect.closes:
        return ["start: plain | calls", f"plain: {_PLAIN}"]
    return [
        f"start: tagged{{0,{MAX_CALLS}}} TEXT" if use.parallel else "start: tagged | TEXT",
        f'tagged: opened "\\n"? body "\\n"? {quoted(dialect.closes)}',
        f"opened[lazy]: TEXT {quoted(dialect.opens)}",
        f"TEXT: {_TEXT}",
    ]


def _content(content: OutputForm) -> str:
    if content.kind is not FormKind.JSON_SCHEMA:
        raise InvalidRequestError(
            f"{content.param} goes together with tools only as a JSON schema", content.param
        )
    return _json(json.loads(content.text), strict=content.strict)


def _call_rules(use: ToolUse, dialect: Dialect) -> Iterator[str]:
    more = f"({quoted(dialect.separator)} call){{0,{MAX_CALLS - 1}}}" if use.parallel else ""
    opens, closes = (f"{dialect.opens}\n", f"\n{dialect.closes}") if dialect.closes else ("", "")
    yield f"calls: {_literal(dialect.begins)} call {more} {_literal(dialect.ends)}"
    yield f"call: {_literal(opens)} body {_literal(closes)}"
    yield "body: " + " | ".join(f"call_{i}" for i in range(len(use.functions)))
    for i, function in enumerate(use.functions):
        yield f"call_{i}: {_call(function, dialect)}"


def _call(function: Function, dialect: Dialect) -> str:
    head = f'{{"name": {json.dumps(function.name)}, "{dialect.arguments}": '
    return f'{quoted(head)} {_json(function.parameters, strict=function.strict)} "}}"'


def _json(schema: Any, *, strict: bool) -> str:  # noqa: ANN401 - any JSON value
    options = {"x-guidance": json_options(strict=strict)}
    return f"%json {json.dumps({**schema, **options}, ensure_ascii=False)}"


def _literal(text: str) -> str:
    return quoted(text) if text else ""
