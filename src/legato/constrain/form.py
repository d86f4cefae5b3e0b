"""What an output must look like, as data: checked for size and shape, not yet compiled."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Any, NoReturn

from legato.constrain.schema import check_schema
from legato.errors import InvalidRequestError

FORMAT = "response_format"
MAX_REGEX = 4_096
MAX_GRAMMAR = 32_768
MAX_SCHEMA = 131_072
MAX_CHOICES = 4_096
MAX_CHOICES_TEXT = 65_536


class FormKind(StrEnum):
    """The notation of a form."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    LARK = "lark"

    @property
    def noun(self) -> str:
        """What people call it."""
        return {"json_schema": "schema", "regex": "regular expression", "lark": "grammar"}[self]


@dataclass(frozen=True, slots=True)
class OutputForm:
    """The language of an output.

    Attributes:
        kind: how `text` is written.
        text: a JSON schema, a regular expression or a Lark grammar.
        strict: of a schema: every keyword holds, or the schema is refused. Otherwise keywords
            that cannot be enforced are left to the model.
        param: the request's field that it came from, for errors.
    """

    kind: FormKind
    text: str
    strict: bool = True
    param: str = FORMAT

    @property
    def key(self) -> tuple[str, str, bool]:
        """What two forms of the same language share."""
        return (self.kind, self.text, self.strict)


def json_object(param: str = FORMAT) -> OutputForm:
    """Any JSON object."""
    return OutputForm(FormKind.JSON_SCHEMA, '{"type":"object"}', True, param)


def json_schema(schema: object, *, strict: bool = True, param: str = FORMAT) -> OutputForm:
    """JSON that a schema describes.

    Raises InvalidRequestError where it is not an object or a boolean, too large, too deep, or
    refers to other documents.
    """
    check_schema(schema, param)
    if schema is False:
        _refuse("the schema is false, which nothing fits", param)
    text = json.dumps({} if schema is True else schema, ensure_ascii=False, separators=(",", ":"))
    _check_size(text, MAX_SCHEMA, param, "the schema")
    return OutputForm(FormKind.JSON_SCHEMA, text, strict, param)


def regex(pattern: str, param: str = FORMAT) -> OutputForm:
    """Text that `pattern` matches as a whole. Rust's syntax: no look-around, no back-references."""
    if not pattern:
        _refuse("the regular expression is empty", param)
    _check_size(pattern, MAX_REGEX, param, "the regular expression")
    return OutputForm(FormKind.REGEX, pattern, True, param)


def choice(texts: Sequence[str], param: str = FORMAT) -> OutputForm:
    """Exactly one of `texts`."""
    if not texts or not all(isinstance(text, str) and text for text in texts):
        _refuse("the choices must be a list of texts, at least one, none empty", param)
    if len(texts) > MAX_CHOICES:
        _refuse(f"there are {len(texts)} choices, at most {MAX_CHOICES} are allowed", param)
    _check_size("".join(texts), MAX_CHOICES_TEXT, param, "the list of choices")
    options = " | ".join(quoted(text) for text in dict.fromkeys(texts))
    return OutputForm(FormKind.LARK, f"start: CHOICE\nCHOICE: {options}", True, param)


def grammar(text: str, param: str = FORMAT) -> OutputForm:
    """Text that a Lark grammar derives from its rule ``start``."""
    if not text.strip():
        _refuse("the grammar is empty", param)
    _check_size(text, MAX_GRAMMAR, param, "the grammar")
    return OutputForm(FormKind.LARK, text, True, param)


def from_response_format(value: Mapping[str, Any] | None) -> OutputForm | None:
    """The form that OpenAI's ``response_format`` object asks for; None for text.

    Raises InvalidRequestError, param "response_format", where it is not one of its three types.
    """
    if value is None or value == {"type": "text"}:
        return None
    if value == {"type": "json_object"}:
        return json_object()
    wrapped = value.get("json_schema")
    if value != {"type": "json_schema", "json_schema": wrapped} or not isinstance(wrapped, Mapping):
        _refuse("response_format is text, json_object, or json_schema with its json_schema", FORMAT)
    return named_schema(wrapped)


def from_text_format(value: Mapping[str, Any]) -> OutputForm | None:
    """The form that ``text.format`` of OpenAI's Responses API asks for; None for text.

    Raises InvalidRequestError, param "text.format", where it is not one of its three types.
    """
    param = "text.format"
    if value == {"type": "text"}:
        return None
    if value == {"type": "json_object"}:
        return json_object(param)
    if value.get("type") != "json_schema":
        _refuse("text.format is text, json_object, or json_schema", param)
    return named_schema({k: v for k, v in value.items() if k != "type"}, param)


def named_schema(value: Mapping[str, Any], param: str = FORMAT) -> OutputForm:
    """The form of OpenAI's object of a name, a schema and whether it is strict.

    Raises InvalidRequestError for a missing or malformed member.
    """
    unknown = value.keys() - _NAMED_TYPES.keys()
    if unknown:
        _refuse(f"the json_schema has unknown members: {sorted(unknown)[:4]!a}", param)
    for name, kinds in _NAMED_TYPES.items():
        if not isinstance(value.get(name), kinds):
            _refuse(f"{name} of the json_schema is missing or of the wrong type", param)
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", value["name"]):
        _refuse("name of the json_schema must be 1 to 64 letters, digits, _ and -", param)
    return json_schema(value["schema"], strict=bool(value.get("strict")), param=param)


_NAMED_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "schema": (dict, bool),
    "description": (str, NoneType),
    "strict": (bool, NoneType),
}


def quoted(text: str) -> str:
    """`text` as a literal of a Lark grammar."""
    return json.dumps(text, ensure_ascii=False)


def _check_size(text: str, most: int, param: str, what: str) -> None:
    if len(text) > most:
        _refuse(f"{what} has {len(text)} characters, at most {most} are allowed", param)
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(f"{what} has a lone surrogate", param)


def _refuse(message: str, param: str) -> NoReturn:
    raise InvalidRequestError(message, param)
