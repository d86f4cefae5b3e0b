"""The field types that JSON Schema alone cannot say: parsed, bounded, worded by hand."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from legato.validate import MAX_BIAS, MAX_BIASES, MAX_STOP_LENGTH, MAX_STOP_TOKENS, MAX_STOPS

MAX_METADATA = 16
MAX_PROMPTS = 128
TOKEN_ID_LIMIT = 2**31

PromptItem = str | tuple[int, ...]


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value < TOKEN_ID_LIMIT


def parse_stop(value: object) -> tuple[str, ...]:
    """One string or up to four, none empty."""
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise ValueError("must be a string or a list of strings")
    if len(stops) > MAX_STOPS:
        raise ValueError(f"may hold at most {MAX_STOPS} strings")
    if not all(0 < len(stop) <= MAX_STOP_LENGTH for stop in stops):
        raise ValueError(f"strings must have 1 to {MAX_STOP_LENGTH} characters")
    return tuple(stops)


def parse_ids(value: object, most: int) -> tuple[int, ...]:
    """A list of at most `most` token ids."""
    if not isinstance(value, list) or not all(map(_is_id, value)):
        raise ValueError("must be a list of token ids")
    if len(value) > most:
        raise ValueError(f"may hold at most {most} ids")
    return tuple(value)


def parse_logit_bias(value: object) -> dict[int, float]:
    """Token ids, written as strings, to biases in [-100, 100]."""
    if not isinstance(value, dict):
        raise ValueError("must map token ids to biases")
    if len(value) > MAX_BIASES:
        raise ValueError(f"may hold at most {MAX_BIASES} token ids")
    return {_bias_id(key): _bias(bias) for key, bias in value.items()}


def _bias_id(key: str) -> int:
    canonical = key.isascii() and key.isdigit() and len(key) <= 10 and str(int(key)) == key
    if not canonical or not _is_id(int(key)):
        raise ValueError("keys must be token ids written as decimal strings")
    return int(key)


def _bias(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_BIAS:
        return float(value)
    raise ValueError(f"biases must be numbers from {-MAX_BIAS:g} to {MAX_BIAS:g}")


def parse_metadata(value: object) -> dict[str, str]:
    """Up to 16 pairs: keys of up to 64 characters, values of up to 512."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("must map strings to strings")
    if len(value) > MAX_METADATA:
        raise ValueError(f"may hold at most {MAX_METADATA} pairs")
    if any(len(key) > 64 or len(text) > 512 for key, text in value.items()):
        raise ValueError("keys may have 64 and values 512 characters")
    return value


def parse_prompt(value: object, most: int) -> tuple[PromptItem, ...]:
    """Text, token ids, a list of texts, or a list of token id lists; none of them empty."""
    if isinstance(value, str) or (isinstance(value, list) and value and _is_number(value[0])):
        return (_prompt_item(value),)
    if not isinstance(value, list) or not value:
        raise ValueError("must be a text, token ids, or a list of either, and not empty")
    if len(value) > most:
        raise ValueError(f"may hold at most {most} prompts")
    items = tuple(_prompt_item(item) for item in value)
    if len({type(item) for item in items}) > 1:
        raise ValueError("must not mix texts and token ids")
    return items


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _prompt_item(item: object) -> PromptItem:
    if isinstance(item, str) and item:
        return item
    if not isinstance(item, list) or not item:
        raise ValueError("must be a text, token ids, or a list of either, and not empty")
    if not all(type(token) is int for token in item):
        raise ValueError("token ids must be integers")
    if not all(map(_is_id, item)):
        raise ValueError("token id out of range")
    return tuple(item)


def join_parts(value: object) -> object:
    """Join content given as text parts; other kinds of part are not supported yet."""
    if not isinstance(value, list):
        return value
    return "".join(map(_part_text, value))


def _part_text(part: object) -> str:
    members = _text_part(part, ("text",))
    if members.keys() != {"type", "text"}:
        raise ValueError("parts must be {type: 'text', text: a string}")
    return str(members["text"])


def join_response_parts(value: object) -> object:
    """Likewise for /v1/responses, where parts of an earlier answer are input again."""
    if not isinstance(value, list):
        return value
    return "".join(map(_response_part_text, value))


def _response_part_text(part: object) -> str:
    members = _text_part(part, ("input_text", "output_text"))
    is_output = members["type"] == "output_text"
    known = {"type", "text", "annotations", "logprobs"} if is_output else {"type", "text"}
    lists = (members.get(name, []) for name in ("annotations", "logprobs"))
    if not members.keys() <= known or not all(value in (None, []) for value in lists):
        raise ValueError(f"{members['type']} parts may hold a text and nothing else")
    return str(members["text"])


def _text_part(part: object, kinds: tuple[str, ...]) -> dict[str, object]:
    """The members of a part that is a text of one of `kinds`."""
    if not isinstance(part, dict):
        raise ValueError("parts must be objects")
    kind = part.get("type")
    if kind in _OTHER_PARTS:
        raise ValueError(f"{kind} parts are not supported yet; send text")
    if kind not in kinds or not isinstance(part.get("text"), str):
        raise ValueError(f"parts must be {{type: '{kinds[0]}', text: a string}}")
    return part


_OTHER_PARTS = (
    *("image_url", "input_audio", "file", "refusal", "input_image", "input_file"),
    *("computer_screenshot", "summary_text", "reasoning_text"),
)


def _parse_false(value: object) -> Literal[False]:
    """`false` itself; 0 is no boolean."""
    if value is not False:
        raise ValueError("can only be false")
    return False


def _parse_true(value: object) -> Literal[True]:
    if value is not True:
        raise ValueError("can only be true")
    return True


_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
_STOP = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_LENGTH}


def _part_schema(kind: str, **others: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, "text": {"type": "string"}, **others},
        "required": ["type", "text"],
        "additionalProperties": False,
    }


def _text_schema(*parts: dict[str, object]) -> WithJsonSchema:
    """A text, or a list of such parts."""
    items = parts[0] if len(parts) == 1 else {"anyOf": list(parts)}
    return WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": items}]})


def prompt_schema(most: int) -> dict[str, Any]:
    """What `parse_prompt` takes."""
    kinds = (_TEXT, _IDS)
    lists = [{"type": "array", "items": kind, "minItems": 1, "maxItems": most} for kind in kinds]
    return {"anyOf": [*kinds, *lists]}


_OUTPUT_PART = _part_schema(
    "output_text",
    annotations={"type": ["array", "null"], "maxItems": 0},
    logprobs={"type": ["array", "null"], "maxItems": 0},
)

OnlyFalse = Annotated[
    Literal[False],
    PlainValidator(_parse_false),
    WithJsonSchema({"type": "boolean", "const": False}),
]
OnlyTrue = Annotated[
    Literal[True],
    PlainValidator(_parse_true),
    WithJsonSchema({"type": "boolean", "const": True}),
]
MessageText = Annotated[
    str,
    BeforeValidator(join_parts),
    _text_schema(_part_schema("text")),
]
ResponseText = Annotated[
    str,
    BeforeValidator(join_response_parts),
    _text_schema(_part_schema("input_text"), _OUTPUT_PART),
]
StopStrings = Annotated[
    tuple[str, ...],
    PlainValidator(parse_stop),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}]}),
]
StopTokenIds = Annotated[
    tuple[int, ...],
    PlainValidator(lambda value: parse_ids(value, MAX_STOP_TOKENS)),
    WithJsonSchema({**_IDS, "minItems": 0, "maxItems": MAX_STOP_TOKENS}),
]
LogitBias = Annotated[
    dict[int, float],
    PlainValidator(parse_logit_bias),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^(0|[1-9][0-9]*)$"},
            "additionalProperties": {"type": "number", "minimum": -MAX_BIAS, "maximum": MAX_BIAS},
            "maxProperties": MAX_BIASES,
        }
    ),
]
Metadata = Annotated[
    dict[str, str],
    PlainValidator(parse_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"maxLength": 64},
            "additionalProperties": {"type": "string", "maxLength": 512},
            "maxProperties": MAX_METADATA,
        }
    ),
]
Prompt = Annotated[
    tuple[PromptItem, ...],
    PlainValidator(lambda value: parse_prompt(value, MAX_PROMPTS)),
    WithJsonSchema(prompt_schema(MAX_PROMPTS)),
]
