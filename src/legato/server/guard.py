"""Who may call: API keys, Host names, and the closing door of a server that drains.

Decided from the raw path in the ASGI scope, before any routing, and closed by default.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from legato.server.calls import COMPUTING
from legato.server.errors import ApiError, unavailable
from legato.server.lifecycle import Lifecycle
from legato.server.settings import ServerSettings

OPEN_PATHS = frozenset({"/health", "/ready"})


class KeyRing:
    """API keys, kept only as hashes and compared in constant time."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def admits(self, authorization: bytes) -> bool:
        """Whether an Authorization header carries one of the keys; anything does without keys."""
        if not self._digests:
            return True
        scheme, _, key = authorization.partition(b" ")
        digest = sha256(key.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


class GuardMiddleware:
    """Refuses before anything is parsed."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, lifecycle: Lifecycle) -> None:
        self._app = app
        self._keys = KeyRing(settings.api_keys)
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            raise ApiError(404, "there is nothing here but HTTP")
        elif (refusal := self._refusal(scope)) is not None:
            await refusal.response()(scope, receive, send)
        elif scope["path"] in COMPUTING and scope["method"] == "POST":
            await self._counted(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        if self._hosts and _host(scope) not in self._hosts:
            return ApiError(400, "this Host is not served here", code="host_not_allowed")
        if scope["path"] not in OPEN_PATHS and not self._keys.admits(_authorization(scope)):
            headers = {"WWW-Authenticate": "Bearer"}
            message = "send a valid API key as Authorization: Bearer KEY"
            return ApiError(401, message, code="invalid_api_key", headers=headers)
        if self._lifecycle.draining and scope["path"] in COMPUTING:
            refusal = unavailable("the server is shutting down", "shutting_down")
            refusal.headers["Connection"] = "close"
            return refusal
        return None

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._lifecycle.enter()
        try:
            await self._app(scope, receive, send)
        finally:
            self._lifecycle.leave()


def _authorization(scope: Scope) -> bytes:
    """The one Authorization header; none or several count as none."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0] if len(values) == 1 else b""


def _host(scope: Scope) -> str:
    host = Headers(scope=scope).get("host", "").lower()
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host
