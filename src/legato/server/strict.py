"""The base of every request model.

Strict types: "10", true and 1.5 are no integers, NaN and infinity are no numbers. Null is the
same as leaving an optional field out.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.config import JsonDict, JsonValue

_ANNOTATIONS: tuple[str, ...] = ("title", "description", "default")
_NULL: JsonDict = {"type": "null"}


def _allow_null(schema: JsonDict) -> None:
    """Say in the schema what `Strict` does: null leaves an optional field out."""
    required = schema.get("required", [])
    properties = schema["properties"]
    assert isinstance(required, list)
    assert isinstance(properties, dict)
    for name in properties.keys() - set(required):
        properties[name] = _nullable(properties[name])


def _nullable(schema: JsonValue) -> JsonDict:
    assert isinstance(schema, dict)
    outside = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    kinds = inside.get("anyOf", [inside])
    assert isinstance(kinds, list)
    return {**outside, "anyOf": [*(kind for kind in kinds if kind != _NULL), _NULL]}


class Strict(BaseModel):
    """Unknown fields are refused, types are not converted, null means the default."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        frozen=True,
        json_schema_extra=_allow_null,
    )
    refused: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        required = {name for name, field in cls.model_fields.items() if field.is_required()}
        known = cls.model_fields.keys() | cls.refused
        return {
            key: value
            for key, value in data.items()
            if value is not None or key in required or key not in known
        }
