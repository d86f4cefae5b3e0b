"""Bounds on a JSON schema, before anything recursive looks at it."""

from __future__ import annotations

from legato.errors import InvalidRequestError

MAX_DEPTH = 64
MAX_VALUES = 10_000
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


def check_schema(schema: object, param: str) -> None:
    """Raise InvalidRequestError where `schema` is no schema, too deep, too large, or refers to
    another document: nothing is ever fetched."""
    if not isinstance(schema, dict | bool):
        raise InvalidRequestError("a JSON schema is an object", param)
    for value in check_size(schema, param):
        if isinstance(value, dict):
            _check_references(value, param)


def check_size(root: object, param: str) -> list[object]:
    """All values in the JSON value `root`. InvalidRequestError where it is too deep or large."""
    values: list[object] = []
    pending: list[tuple[object, int]] = [(root, 1)]
    while pending:
        value, depth = pending.pop()
        values.append(value)
        if depth > MAX_DEPTH:
            raise InvalidRequestError(f"it nests deeper than {MAX_DEPTH} levels", param)
        if len(values) > MAX_VALUES:
            raise InvalidRequestError(f"it has more than {MAX_VALUES} values", param)
        if isinstance(value, dict):
            pending.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list | tuple):
            pending.extend((item, depth + 1) for item in value)
    return values


def _check_references(value: dict[str, object], param: str) -> None:
    for name in _REFERENCES & value.keys():
        target = value[name]
        if isinstance(target, str) and not target.startswith("#"):
            raise InvalidRequestError(
                f"the schema refers to another document by {name}; only references within it, "
                "such as #/$defs/name, are followed",
                param,
            )
