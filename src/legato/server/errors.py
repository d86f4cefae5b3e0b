"""Errors as OpenAI's clients expect them, and which of Legato's errors becomes which.

A body never carries a traceback, an address or a file path: only messages written for the caller.
"""

from __future__ import annotations

import json
import math
from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import Response

from legato.errors import (
    CapacityError,
    EngineStoppedError,
    InvalidRequestError,
    OverloadedError,
)

ErrorType = Literal["invalid_request_error", "requests", "tokens", "server_error"]
"""OpenAI's: the caller's fault, one of its limits reached (429), or the server's own."""


class ErrorDetail(BaseModel):
    """What was wrong, which field, and a stable word for programs."""

    message: str
    type: ErrorType
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every response that is not a success."""

    error: ErrorDetail


class ApiError(Exception):
    """An answer that is not a success: status, body and headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        kind: ErrorType | None = None,
    ) -> None:
        """`kind` is taken from `status` where it is not given."""
        super().__init__(message)
        self.status = status
        self.kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
        self.param = param
        self.code = code
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The error object."""
        detail = {"message": str(self), "type": self.kind}
        return {"error": {**detail, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The error as a whole HTTP response."""
        content = json.dumps(self.body())
        return Response(content, self.status, self.headers, media_type="application/json")


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The caller's fault, in the field `param`."""
    return ApiError(400, message, param=param, code=code)


def unavailable(message: str, code: str, retry_after: float = 1.0) -> ApiError:
    """Not now: come back in `retry_after` seconds."""
    return ApiError(503, message, code=code, headers=_retry_after(retry_after))


def too_many(message: str, kind: ErrorType, retry_after: float) -> ApiError:
    """This caller has used up what it may: come back in `retry_after` seconds."""
    headers = _retry_after(retry_after)
    return ApiError(429, message, code="rate_limit_exceeded", headers=headers, kind=kind)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def internal_error() -> ApiError:
    """Our fault; what happened is in the server's log and nowhere else."""
    return ApiError(500, "the server failed on this request; its log says how", code="internal")


def to_api_error(error: Exception) -> ApiError:
    """The answer to an error of any kind that ended a request."""
    match error:
        case ApiError():
            return error
        case InvalidRequestError():
            return bad_request(str(error), error.param, error.code)
        case CapacityError():
            return bad_request(str(error), code="never_fits")
        case OverloadedError():
            return unavailable(str(error), "overloaded", error.retry_after)
        case EngineStoppedError():
            return unavailable("the engine has stopped; try again later", "engine_stopped")
    return internal_error()
