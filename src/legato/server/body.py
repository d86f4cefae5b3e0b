"""Request bodies: read within limits, parsed strictly, safe to walk afterwards."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from legato.server.errors import ApiError, bad_request
from legato.server.settings import ServerSettings

T = TypeVar("T")
TAKE_IN_THREAD = 100_000  # bytes; a larger body would stall the other streams


async def read_json(
    request: Request, settings: ServerSettings, accept: Callable[[dict[str, Any]], T]
) -> T:
    """What `accept` makes of the body, a JSON object. A large body is taken off the event loop.

    Raises:
        ApiError: 408, 413 or 415 by the limits; 400 when it is not one well-formed JSON object
            of bounded depth, without duplicate keys, NaN, infinities and lone surrogates.
    """
    _check_headers(request, settings.max_body)
    try:
        async with asyncio.timeout(settings.body_timeout):
            body = await _read(request, settings.max_body)
    except TimeoutError:
        raise ApiError(
            408, f"the body did not arrive within {settings.body_timeout:g} s", code="timeout"
        ) from None

    def accepted() -> T:
        return accept(parse_object(body, settings.max_json_depth))

    return await asyncio.to_thread(accepted) if len(body) > TAKE_IN_THREAD else accepted()


def _check_headers(request: Request, max_body: int) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            415, "send a JSON body with Content-Type: application/json", code="media_type"
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "send the body without Content-Encoding", code="content_encoding")
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_body:
        raise _too_large(max_body)


async def _read(request: Request, max_body: int) -> bytes:
    """Collect the body, giving up as soon as it is larger than `max_body`."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > max_body:
                raise _too_large(max_body)
    except ClientDisconnect:
        raise bad_request("the connection closed before the body was whole") from None
    return bytes(body)


def _too_large(max_body: int) -> ApiError:
    return ApiError(413, f"the body is larger than {max_body} bytes", code="body_too_large")


def parse_object(body: bytes, max_depth: int) -> dict[str, Any]:
    """Parse one JSON object; ApiError 400 says what is wrong with it."""
    try:
        document = _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise bad_request("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise bad_request(
            f"the body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise bad_request("the body holds a number with too many digits") from None
    if not isinstance(document, dict):
        raise bad_request("the body must be a JSON object")
    _check(document, max_depth)
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; two equal keys could be checked as one value and used as the other."""
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise bad_request(f"the key {quote(twice)} appears twice", _param(twice))
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys)


def _check(document: dict[str, Any], max_depth: int) -> None:
    """Refuse what later code could trip over, naming the top-level field where it is."""
    for key, value in document.items():
        _encodable(key, None)
        _check_value(value, key, max_depth - 1)


def _check_value(value: object, field: str, depth: int) -> None:
    check = _CHECKS.get(type(value))
    if check is not None:
        check(value, field, depth)


def _check_float(value: float, field: str, depth: int) -> None:
    if not math.isfinite(value):
        raise bad_request(f"{quote(field)} holds a number that is not finite", _param(field))


def _check_str(value: str, field: str, depth: int) -> None:
    _encodable(value, field)


def _check_list(value: list[Any], field: str, depth: int) -> None:
    if depth == 0:
        raise _too_deep(field)
    for item in value:
        if type(item) is not int:
            _check_value(item, field, depth - 1)


def _check_dict(value: dict[str, Any], field: str, depth: int) -> None:
    if depth == 0:
        raise _too_deep(field)
    for key, item in value.items():
        _encodable(key, field)
        _check_value(item, field, depth - 1)


_CHECKS: dict[type, Callable[[Any, str, int], None]] = {
    float: _check_float,
    str: _check_str,
    list: _check_list,
    dict: _check_dict,
}


def _encodable(text: str, field: str | None) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        where = quote(field) if field else "a key"
        raise bad_request(
            f"{where} holds a lone surrogate; send such characters as surrogate pairs or UTF-8",
            _param(field),
        ) from None


def _too_deep(field: str | None = None) -> ApiError:
    return bad_request("the body nests arrays and objects too deeply", _param(field))


def _param(field: str | None) -> str | None:
    """A field's name, fit for an error's `param`."""
    return None if field is None else field.encode(errors="replace").decode()[:64]


def quote(text: str) -> str:
    """A caller's word inside a message: printable, short, encodable."""
    return ascii(text if len(text) <= 64 else text[:64] + "…")
