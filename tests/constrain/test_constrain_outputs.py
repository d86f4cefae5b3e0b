"""Whatever is chosen under a constraint is in its language."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator
from walks import allowed, walk

from legato.constrain.form import (
    choice,
    from_response_format,
    grammar,
    json_object,
    json_schema,
    regex,
)

SCHEMAS = {
    "object": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"enum": ["a", "b c", "ü"]}, "maxItems": 3},
            "score": {"type": ["number", "null"]},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    },
    "recursive": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "boolean"},
                    "children": {
                        "type": "array",
                        "items": {"$ref": "#/$defs/node"},
                        "maxItems": 1,
                    },
                },
                "required": ["value", "children"],
                "additionalProperties": False,
            }
        },
    },
    "any of": {"anyOf": [{"type": "integer"}, {"const": {"k": [1, "x"]}}, {"type": "null"}]},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    "uuid": {"type": "string", "format": "uuid"},
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "boolean"}, {"type": "integer"}],
        "items": False,
        "minItems": 2,
    },
    "enum": {"enum": [1, 2.5, "three", None, False]},
    "open": {"type": "object", "additionalProperties": {"type": "integer"}},
    "anything": True,
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("strict", [True, False])
def test_outputs_under_a_schema_validate(vocabulary, schema, strict):
    constraint = vocabulary.compile(json_schema(schema, strict=strict))
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for seed in range(8):
        text = vocabulary.text(walk(vocabulary, constraint, seed))
        validator.validate(json.loads(text))


def test_a_json_object_is_any_object(vocabulary):
    constraint = vocabulary.compile(json_object())
    for seed in range(8):
        assert isinstance(json.loads(vocabulary.text(walk(vocabulary, constraint, seed))), dict)


@pytest.mark.parametrize("pattern", [r"[0-9]{3}-[a-f]+", r"(yes|no)!", r"\w{1,5}", "ü+"])
def test_outputs_under_a_regular_expression_match_it(vocabulary, pattern):
    constraint = vocabulary.compile(regex(pattern))
    for seed in range(8):
        assert re.fullmatch(pattern, vocabulary.text(walk(vocabulary, constraint, seed)))


def test_an_output_is_one_of_the_choices(vocabulary):
    texts = ["positive", "negative", 'quo"te\\ ', "two\nlines", "日本"]
    constraint = vocabulary.compile(choice(texts))
    seen = {vocabulary.text(walk(vocabulary, constraint, seed)) for seed in range(60)}
    assert seen <= set(texts)
    assert len(seen) > 2


def test_outputs_under_a_grammar_are_derived_from_it(vocabulary):
    constraint = vocabulary.compile(grammar('start: "(" start ")" | DIGIT+\nDIGIT: /[0-9]/'))
    for seed in range(8):
        text = vocabulary.text(walk(vocabulary, constraint, seed, patience=15))
        depth = text.count("(")
        assert re.fullmatch(r"[0-9]+", text[depth : len(text) - depth])
        assert text == "(" * depth + text.strip("()") + ")" * depth


def test_white_space_in_json_ends(vocabulary):
    matcher = vocabulary.compile(json_object()).start()
    blanks = [t for t in range(vocabulary.tokenizer.vocab_size)
              if (data := vocabulary.tokenizer.token_bytes(t)) and not data.strip()]  # fmt: skip
    for _ in range(60):
        choices = set(allowed(matcher, vocabulary.tokenizer.vocab_size)) & set(blanks)
        if not choices:
            return
        matcher.accept(choices.pop())
    raise AssertionError("white space without end")


def test_control_tokens_are_never_allowed_even_where_a_grammar_names_their_text(vocabulary):
    special = vocabulary.tokenizer.special_ids - vocabulary.tokenizer.eos_ids
    text = vocabulary.tokenizer.token_text(min(special))
    constraint = vocabulary.compile(choice([text, "other"]))
    seen = {vocabulary.text(walk(vocabulary, constraint, seed)) for seed in range(20)}
    assert seen == {text, "other"}


def test_accept_and_rollback_are_inverse(vocabulary):
    constraint = vocabulary.compile(json_schema(SCHEMAS["object"]))
    size = vocabulary.tokenizer.vocab_size
    tokens = walk(vocabulary, constraint, 3)
    matcher, masks = constraint.start(), []
    for token in tokens:
        masks.append(allowed(matcher, size))
        matcher.accept(token)
    for back in (1, 3, len(tokens) - 4):
        matcher.rollback(back)
        tokens = tokens[: len(tokens) - back]
        assert allowed(matcher, size) == masks[len(tokens)]
    assert not tokens
    with pytest.raises(ValueError):
        matcher.rollback(1)


def test_a_refused_token_changes_nothing(vocabulary):
    matcher = vocabulary.compile(regex("ab")).start()
    size = vocabulary.tokenizer.vocab_size
    before = allowed(matcher, size)
    with pytest.raises(ValueError):
        matcher.accept(next(t for t in range(size) if t not in before))
    assert allowed(matcher, size) == before


def test_matchers_of_one_constraint_are_independent(vocabulary):
    constraint = vocabulary.compile(json_schema(SCHEMAS["object"]))
    size = vocabulary.tokenizer.vocab_size
    ahead, behind = constraint.start(), constraint.start()
    first = allowed(behind, size)
    for token in walk(vocabulary, constraint, 1)[:5]:
        ahead.accept(token)
    assert allowed(behind, size) == first == allowed(constraint.start(), size)


def test_openai_response_formats_become_forms():
    assert from_response_format(None) is None
    assert from_response_format({"type": "text"}) is None
    assert from_response_format({"type": "json_object"}) == json_object()
    wrapped = {"name": "x", "schema": {"type": "string"}, "strict": True}
    form = from_response_format({"type": "json_schema", "json_schema": wrapped})
    assert form == json_schema({"type": "string"})
    loose = from_response_format(
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    )
    assert loose is not None
    assert not loose.strict
