"""Answers under a grammar of calls: parsers find whole calls, and arguments fit their schemas."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from constrain.walks import Vocabulary, walk
from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import json_schema, regex
from legato.errors import InvalidRequestError
from legato.tools.dialect import HERMES, LLAMA, MISTRAL, PYTHONIC
from legato.tools.function import ToolMode, ToolUse
from legato.tools.grammar import tool_form
from legato.tools.parse import parse_tools
from legato.tools.parts import CallArguments, CallBegin, TextPart
from legato.tools.reading import make_parser, written_dialect
from text.tiny_tokenizers import make_case

SCHEMAS = {
    "get": {
        "type": "object",
        "properties": {
            "city": {"enum": ["Bonn", "Köln"]},
            "days": {"type": "integer", "minimum": 1},
        },
        "required": ["city"],
        "additionalProperties": False,
    },
    "stop": {"type": "object", "properties": {}, "additionalProperties": False},
}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}
    for name, schema in SCHEMAS.items()
]
STRICT = parse_tools(TOOLS)
DIALECTS = [HERMES, LLAMA, MISTRAL, PYTHONIC]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    tokenizer = make_case("tiny_byte_bpe-gguf").tokenizer
    return Vocabulary(tokenizer, GrammarCompiler(tokenizer))


def answers(vocabulary, dialect, use, content=None, count=6):
    """(text, calls) of random answers."""
    form = tool_form(use, written_dialect(dialect, prescribed=True), content)
    constraint = vocabulary.compile(form)
    for seed in range(count):
        answer = vocabulary.text(walk(vocabulary, constraint, seed, patience=60))
        parser = make_parser(dialect, use, prescribed=True)
        parts = parser.push(answer) + parser.finish()
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        names = [part.name for part in parts if isinstance(part, CallBegin)]
        arguments = [""] * len(names)
        for part in parts:
            if isinstance(part, CallArguments):
                arguments[part.index] += part.text
        yield text, [(n, json.loads(a)) for n, a in zip(names, arguments, strict=True)]


@pytest.mark.parametrize(("dialect", "parallel"), [*product(DIALECTS, [True, False])])
def test_required_calls_fit_their_schemas(vocabulary, dialect, parallel):
    use = ToolUse(STRICT, ToolMode.REQUIRED, parallel)
    for text, calls in answers(vocabulary, dialect, use):
        assert text == ""
        assert len(calls) == 1 or (parallel and calls)
        for name, arguments in calls:
            Draft202012Validator(SCHEMAS[name]).validate(arguments)


def test_a_named_function_is_called(vocabulary):
    use = ToolUse(STRICT[1:], ToolMode.REQUIRED, parallel=False)
    for _, calls in answers(vocabulary, HERMES, use):
        assert calls == [("stop", {})]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_with_a_form_an_answer_has_it_or_calls(vocabulary, dialect):
    use = ToolUse(STRICT, ToolMode.AUTO)
    content = json_schema({"type": "array", "items": {"type": "boolean"}, "maxItems": 2})
    seen = set()
    for text, calls in answers(vocabulary, dialect, use, content, count=20):
        assert bool(text) != bool(calls)
        if text:
            assert len(json.loads(text)) <= 2
        for name, arguments in calls:
            Draft202012Validator(SCHEMAS[name]).validate(arguments)
        seen.add(bool(calls))
    assert seen == {True, False}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_free_answers_may_say_anything_but_call_only_what_fits(vocabulary, dialect):
    use = ToolUse(STRICT, ToolMode.AUTO)
    written = written_dialect(dialect, prescribed=True)
    constraint = vocabulary.compile(tool_form(use, written, None))
    opens = f"Hm. {written.opens}" if written.closes else written.begins
    good = f'{opens}{{"name": "get", "{written.arguments}": {{"city": "Bonn"}}}}'
    assert takes(vocabulary, constraint, "Some text with <tool_ and a { in it")
    assert takes(vocabulary, constraint, good)
    assert not takes(vocabulary, constraint, good.replace("Bonn", "Rome"))
    assert not takes(vocabulary, constraint, good.replace("get", "put"))


def takes(vocabulary, constraint, text: str) -> bool:
    """Whether `text` can begin an answer."""
    matcher = constraint.start()
    tokens = vocabulary.tokenizer.encode(text, add_special_tokens=False)
    for token in tokens:
        mask = np.zeros_like(constraint.usable)
        matcher.fill_mask(mask)
        if not int(mask[token // 32]) >> token % 32 & 1:
            return False
        matcher.accept(token)
    return True


def test_at_most_one_call_where_calls_are_not_parallel(vocabulary):
    use = ToolUse(STRICT, ToolMode.AUTO, parallel=False)
    constraint = vocabulary.compile(tool_form(use, HERMES, None))
    call = '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>'
    assert takes(vocabulary, constraint, f"So: {call}")
    assert not takes(vocabulary, constraint, f"{call}\n{call}")


def test_nothing_is_prescribed_without_need():
    loose = parse_tools([{"type": "function", "function": {"name": "f"}}])
    assert tool_form(ToolUse(loose, ToolMode.AUTO), HERMES, None) is None


def test_forms_that_are_no_schema_do_not_go_with_tools():
    with pytest.raises(InvalidRequestError) as caught:
        tool_form(ToolUse(STRICT, ToolMode.AUTO), HERMES, regex("a", "guided_regex"))
    assert caught.value.param == "guided_regex"


def test_the_schemas_of_all_functions_together_are_bounded():
    described = {"type": "object", "properties": {"a": {"const": "x" * 3_000}}}
    many = [
        {"type": "function", "function": {"name": f"f{i}", "parameters": described}}
        for i in range(60)
    ]
    with pytest.raises(InvalidRequestError) as caught:
        tool_form(ToolUse(parse_tools(many), ToolMode.REQUIRED), HERMES, None)
    assert caught.value.param == "tools"
