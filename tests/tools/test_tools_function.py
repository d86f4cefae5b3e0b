"""What may be offered to a model, and what is refused by the path of the member at fault."""

from __future__ import annotations

import pytest

from legato.errors import InvalidRequestError
from legato.tools.function import NO_TOOLS, ToolMode
from legato.tools.parse import RESPONSES, parse_tool_use, parse_tools


def tool(**function):
    return {"type": "function", "function": {"name": "f", **function}}


def test_tools_are_read():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    first, second = parse_tools(
        [tool(description="d", parameters=schema, strict=True), tool(name="g")]
    )
    assert (first.name, first.description, first.strict) == ("f", "d", True)
    assert first.tool["function"] == {"name": "f", "description": "d", "parameters": schema}
    assert second.parameters == {"type": "object", "properties": {}}
    assert not second.strict


def deep(levels: int) -> dict:
    schema: dict = {}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([], "tools"),
        ("f", "tools"),
        ([tool()] * 129, "tools"),
        (["f"], "tools[0]"),
        ([tool(), {"type": "function", "function": {"name": "g"}, "x": 1}], "tools[1]"),
        ([{"type": "web_search"}], "tools[0].type"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"type": "function", "function": {}}], "tools[0].function.name"),
        ([tool(name="a b")], "tools[0].function.name"),
        ([tool(name="x" * 65)], "tools[0].function.name"),
        ([tool(name=5)], "tools[0].function.name"),
        ([tool(), tool()], "tools[1].function.name"),
        ([tool(description=5)], "tools[0].function.description"),
        ([tool(strict="yes")], "tools[0].function.strict"),
        ([tool(more=1)], "tools[0].function.more"),
        ([tool(parameters=[])], "tools[0].function.parameters"),
        ([tool(parameters={"type": "string"})], "tools[0].function.parameters"),
        ([tool(parameters={"$ref": "http://x/y"})], "tools[0].function.parameters"),
        ([tool(parameters=deep(100))], "tools[0].function.parameters"),
        ([tool(description="x" * 300_000)], "tools"),
    ],
)
def test_malformed_tools_are_refused_by_path(tools, param):
    with pytest.raises(InvalidRequestError) as caught:
        parse_tools(tools)
    assert caught.value.param == param


FUNCTIONS = parse_tools([tool(), tool(name="g")])


@pytest.mark.parametrize(
    ("choice", "parallel", "mode", "names", "several"),
    [
        (None, None, ToolMode.AUTO, "fg", True),
        ("auto", False, ToolMode.AUTO, "fg", False),
        ("required", True, ToolMode.REQUIRED, "fg", True),
        ({"type": "function", "function": {"name": "g"}}, None, ToolMode.REQUIRED, "g", False),
    ],
)
def test_choices_say_what_may_be_called(choice, parallel, mode, names, several):
    use = parse_tool_use(FUNCTIONS, choice, parallel)
    assert (use.mode, use.parallel, use.names) == (mode, several, set(names))


def test_none_offers_nothing():
    assert parse_tool_use(FUNCTIONS, "none", None) == NO_TOOLS
    assert parse_tool_use((), None, None) == NO_TOOLS == parse_tool_use((), "none", None)


@pytest.mark.parametrize(
    ("functions", "choice", "parallel", "param"),
    [
        ((), "auto", None, "tool_choice"),
        ((), None, True, "parallel_tool_calls"),
        (FUNCTIONS, "always", None, "tool_choice"),
        (FUNCTIONS, 5, None, "tool_choice"),
        (FUNCTIONS, [], None, "tool_choice"),
        (FUNCTIONS, {"type": "function"}, None, "tool_choice"),
        (FUNCTIONS, {"type": "function", "function": {"name": "h"}}, None, "tool_choice"),
        (FUNCTIONS, {"type": "function", "function": {"name": ["f"]}}, None, "tool_choice"),
        (FUNCTIONS, {"type": "function", "function": {"name": "f", "x": 1}}, None, "tool_choice"),
        (FUNCTIONS, {"type": "allowed_tools"}, None, "tool_choice"),
    ],
)
def test_choices_that_cannot_be_are_refused(functions, choice, parallel, param):
    with pytest.raises(InvalidRequestError) as caught:
        parse_tool_use(functions, choice, parallel)
    assert caught.value.param == param


def flat(name="f", **members):
    return {"type": "function", "name": name, **members}


def test_the_flat_notation_of_responses_is_read():
    unsaid, loose, strict = parse_tools(
        [flat(), flat("g", strict=False), flat("h", strict=True)], RESPONSES
    )
    assert [(f.strict, f.prescribed) for f in (unsaid, loose, strict)] == [
        (False, True),
        (False, False),
        (True, False),
    ]
    assert parse_tools([], RESPONSES) == ()
    assert parse_tool_use((), "auto", True, RESPONSES) == NO_TOOLS
    use = parse_tool_use((unsaid, loose), {"type": "function", "name": "g"}, None, RESPONSES)
    assert (use.mode, use.names) == (ToolMode.REQUIRED, {"g"})


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_some_of_the_tools_may_be_allowed(mode):
    names = [{"type": "function", "function": {"name": "g"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": names}}
    use = parse_tool_use(FUNCTIONS, choice, None)
    assert (use.mode, use.parallel, use.names) == (ToolMode(mode), True, {"g"})
    for wrong in ({"mode": "none", "tools": names}, {"mode": mode, "tools": []}, {"mode": mode}):
        with pytest.raises(InvalidRequestError):
            parse_tool_use(FUNCTIONS, {**choice, "allowed_tools": wrong}, None)
