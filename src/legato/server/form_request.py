"""The fields that prescribe the form of an answer, under OpenAI's and vLLM's names."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainValidator, WithJsonSchema

from legato.constrain.form import (
    MAX_CHOICES,
    MAX_GRAMMAR,
    MAX_REGEX,
    OutputForm,
    choice,
    from_response_format,
    from_text_format,
    grammar,
    json_object,
    json_schema,
    regex,
)
from legato.server.errors import bad_request
from legato.server.json_schema import NAME, nullable, object_of
from legato.server.strict import Strict


def _parsed_format(value: object) -> OutputForm | None:
    if not isinstance(value, dict):
        raise ValueError("should be an object with a type")
    return from_response_format(value)


class TextFormat(NamedTuple):
    """The format of /v1/responses, and how an answer repeats it."""

    form: OutputForm | None
    given: dict[str, Any]


def _parsed_text_format(value: object) -> TextFormat:
    if not isinstance(value, dict):
        raise ValueError("should be an object with a type")
    return TextFormat(from_text_format(value), value)


def _parsed_json(value: object, param: str) -> OutputForm:
    """A schema, as an object or as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("should be a JSON schema") from None
    return json_schema(value, param=param)


def _parsed_text(value: object, param: str, make: Callable[[str, str], OutputForm]) -> OutputForm:
    if not isinstance(value, str):
        raise ValueError("should be a text")
    return make(value, param)


def _parsed_choice(value: object, param: str) -> OutputForm:
    if not isinstance(value, list):
        raise ValueError("should be a list of texts")
    return choice(value, param)


def _parsed_object(value: object, param: str) -> OutputForm:
    if value is not True:
        raise ValueError("can only be true")
    return json_object(param)


_PARSERS: dict[str, Callable[[object, str], OutputForm]] = {
    "json": _parsed_json,
    "json_object": _parsed_object,
    "regex": partial(_parsed_text, make=regex),
    "choice": _parsed_choice,
    "grammar": partial(_parsed_text, make=grammar),
}


def _parsed_structured(value: object) -> OutputForm:
    given = {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else {}
    if len(given) != 1 or not given.keys() <= _PARSERS.keys():
        raise ValueError(f"should have exactly one of {', '.join(_PARSERS)}")
    (kind,) = given
    return _PARSERS[kind](given[kind], "structured_outputs")


_SCHEMA = {"anyOf": [{"type": "object"}, {"type": "boolean"}]}
_TEXT = {"type": "string", "minLength": 1}
_JSON = {"anyOf": [*_SCHEMA["anyOf"], {"type": "string"}]}
_CHOICE = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MAX_CHOICES}
_REGEX = {**_TEXT, "maxLength": MAX_REGEX}
_GRAMMAR = {**_TEXT, "maxLength": MAX_GRAMMAR}


_NAMED_SCHEMA = object_of(
    ["name", "schema"],
    name=NAME,
    schema=_SCHEMA,
    description=nullable("string"),
    strict=nullable("boolean"),
)
_FORMAT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        object_of(["type"], type={"enum": ["text", "json_object"]}),
        object_of(
            ["type", "json_schema"], type={"const": "json_schema"}, json_schema=_NAMED_SCHEMA
        ),
    ]
}

_TEXT_FORMAT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        object_of(["type"], type={"enum": ["text", "json_object"]}),
        object_of(
            ["type", *_NAMED_SCHEMA["required"]],
            type={"const": "json_schema"},
            **_NAMED_SCHEMA["properties"],
        ),
    ]
}
_STRUCTURED_SCHEMA: dict[str, Any] = {
    "anyOf": [
        object_of(["json"], json=_JSON),
        object_of(["json_object"], json_object={"const": True}),
        object_of(["regex"], regex=_REGEX),
        object_of(["choice"], choice=_CHOICE),
        object_of(["grammar"], grammar=_GRAMMAR),
    ]
}

ResponseFormat = Annotated[
    OutputForm | None, PlainValidator(_parsed_format), WithJsonSchema(_FORMAT_SCHEMA)
]
StructuredOutputs = Annotated[
    OutputForm | None, PlainValidator(_parsed_structured), WithJsonSchema(_STRUCTURED_SCHEMA)
]
ResponseTextFormat = Annotated[
    TextFormat | None, PlainValidator(_parsed_text_format), WithJsonSchema(_TEXT_FORMAT_SCHEMA)
]
GuidedJson = Annotated[
    OutputForm | None,
    PlainValidator(partial(_parsed_json, param="guided_json")),
    WithJsonSchema(_JSON),
]
GuidedRegex = Annotated[
    OutputForm | None,
    PlainValidator(partial(_parsed_text, param="guided_regex", make=regex)),
    WithJsonSchema(_REGEX),
]
GuidedChoice = Annotated[
    OutputForm | None,
    PlainValidator(partial(_parsed_choice, param="guided_choice")),
    WithJsonSchema(_CHOICE),
]
GuidedGrammar = Annotated[
    OutputForm | None,
    PlainValidator(partial(_parsed_text, param="guided_grammar", make=grammar)),
    WithJsonSchema(_GRAMMAR),
]


class FormFields(Strict):
    """At most one of these."""

    response_format: ResponseFormat = Field(None, description="Text, a JSON object, or a schema.")
    structured_outputs: StructuredOutputs = Field(
        None, description="One of json, json_object, regex, choice, grammar (Lark)."
    )
    guided_json: GuidedJson = Field(None, description="Older name of structured_outputs.json.")
    guided_regex: GuidedRegex = Field(None, description="Of structured_outputs.regex.")
    guided_choice: GuidedChoice = Field(None, description="Of structured_outputs.choice.")
    guided_grammar: GuidedGrammar = Field(None, description="Of structured_outputs.grammar.")

    @property
    def output_form(self) -> OutputForm | None:
        """The form of the answer; None for any text. ApiError 400 where two are given."""
        given = {name: form for name in FORM_FIELDS if (form := getattr(self, name)) is not None}
        if len(given) > 1:
            raise bad_request(f"give only one of {', '.join(given)}", list(given)[-1])
        return next(iter(given.values()), None)


FORM_FIELDS = tuple(FormFields.model_fields)
