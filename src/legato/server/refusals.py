"""Validation of a body against its model, and the words of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from legato.server.body import quote
from legato.server.errors import ApiError, bad_request
from legato.server.protocol import (
    CallRequest,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    Message,
)
from legato.server.response_items import TAGS
from legato.server.response_request import INCLUDE_LOGPROBS, ResponseRequest
from legato.server.strict import Strict
from legato.server.token_requests import TokenizeRequest

R = TypeVar("R", bound=Strict)


def validate(model: type[R], body: dict[str, Any]) -> R:
    """`body` as a `model`; ApiError 400 names the field that cannot be honoured."""
    try:
        request = model.model_validate(body)
    except ValidationError as error:
        raise _refusal(model, error) from None
    for check in _CHECKS:
        check(request)
    return request


def _refusal(model: type[Strict], error: ValidationError) -> ApiError:
    details = error.errors(include_url=False, include_input=False)
    unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
    if unknown:
        return _unknown_fields(model, unknown)
    param = field_path(details[0]["loc"])
    return bad_request(f"{quote(param)}: {_words(details[0])}", param, _code(details[0]))


def _unknown_fields(model: type[Strict], details: list[ErrorDetails]) -> ApiError:
    first = details[0]["loc"]
    param = field_path(first)
    refused = Message.refused if first[0] == "messages" else model.refused
    if first[-1] in refused:
        return bad_request(f"{quote(param)} is not supported yet", param, "unsupported_parameter")
    names = ", ".join(quote(field_path(detail["loc"])) for detail in details[:8])
    return bad_request(f"unknown fields: {names}", param, "unknown_parameter")


def field_path(location: tuple[int | str, ...]) -> str:
    """Where an error is, such as ``messages[2].content`` or ``stream_options.include_usage``."""
    steps = (step for step in location if step not in TAGS)
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return path.removeprefix(".")[:64].encode(errors="replace").decode()


def _words(detail: ErrorDetails) -> str:
    return _WORDS.get(detail["type"]) or detail["msg"].removeprefix("Value error, ").removeprefix(
        "Input "
    )


def _code(detail: ErrorDetails) -> str:
    """OpenAI's word for what is wrong with a value."""
    kind = detail["type"]
    if kind in _BOUNDS:
        bound, word = _BOUNDS[kind]
        number = "decimal" if isinstance(detail["ctx"][bound], float) else "integer"
        return f"{number}_{word}_value"
    return _CODES.get(kind) or ("invalid_type" if kind.endswith("_type") else "invalid_value")


_BOUNDS = {
    "greater_than_equal": ("ge", "below_min"),
    "greater_than": ("gt", "below_min"),
    "less_than_equal": ("le", "above_max"),
}
_CODES = {
    "missing": "missing_required_parameter",
    "too_short": "empty_array",
    "too_long": "array_above_max_length",
    "string_too_long": "string_above_max_length",
    "string_too_short": "string_below_min_length",
}
_WORDS = {
    "missing": "is required",
    "tuple_type": "should be a list",
    "too_short": "should not be empty",
    "model_type": "should be an object",
}
"""Where pydantic speaks of Python instead of JSON."""


def _min_tokens(request: Strict) -> None:
    if not isinstance(request, CallRequest):
        return
    wanted = request.wanted_tokens
    if wanted is not None and request.min_tokens > wanted:
        raise bad_request(f"min_tokens is larger than the {wanted} tokens wanted", "min_tokens")


def _stream_options(request: Strict) -> None:
    if not isinstance(request, GenerationRequest | ResponseRequest):
        return
    if request.stream_options is not None and not request.stream:
        raise bad_request("stream_options needs stream: true", "stream_options")


def _one_token_limit(request: Strict) -> None:
    if not isinstance(request, ChatRequest) or request.max_tokens is None:
        return
    if request.max_completion_tokens not in (None, request.max_tokens):
        raise bad_request(
            "max_tokens and max_completion_tokens differ; give one of them", "max_tokens"
        )


def _top_logprobs(request: Strict) -> None:
    if isinstance(request, ChatRequest) and request.top_logprobs and not request.logprobs:
        raise bad_request("top_logprobs needs logprobs: true", "top_logprobs")
    if isinstance(request, ResponseRequest) and request.top_logprobs and not request.include:
        needed = INCLUDE_LOGPROBS
        raise bad_request(f"top_logprobs needs include: ['{needed}']", "top_logprobs")


def _echo(request: Strict) -> None:
    if not isinstance(request, CompletionRequest):
        return
    if request.max_tokens == 0 and not request.echo:
        raise bad_request("max_tokens: 0 needs echo: true", "max_tokens")


def _one_text(request: Strict) -> None:
    if not isinstance(request, TokenizeRequest):
        return
    if (request.prompt is None) == (request.messages is None):
        raise bad_request("give either prompt or messages", "prompt")
    if request.messages is not None and "add_special_tokens" in request.model_fields_set:
        raise bad_request("the template alone decides about messages", "add_special_tokens")


def _compute(request: Strict) -> None:
    if not isinstance(request, CallRequest) or request.legato.compute is None:
        return
    if request.wanted_samples > 1:
        raise bad_request("legato.compute decides how many samples are drawn; leave n out", "n")
    if isinstance(request, CompletionRequest) and len(request.prompt) > 1:
        raise bad_request("legato.compute takes one prompt a request", "prompt")
    if isinstance(request, CompletionRequest) and request.max_tokens == 0:
        raise bad_request("legato.compute needs tokens: max_tokens is 0", "max_tokens")


_CHECKS: tuple[Callable[[Strict], None], ...] = (
    _min_tokens,
    _stream_options,
    _one_token_limit,
    _top_logprobs,
    _echo,
    _one_text,
    _compute,
)
