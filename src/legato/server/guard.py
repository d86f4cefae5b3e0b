"""Who may call: API keys, Host names, and the closing door of a server that drains.

Decided from the raw path in the ASGI scope, before any routing, and closed by default.
"""

from __future__ import annotations

from contextlib import ExitStack

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from legato.server.calls import CALL, COMPUTING, ENDPOINTS
from legato.server.errors import ApiError, unavailable
from legato.server.key_usage import KeyMeter
from legato.server.keys import ApiKey, KeyRing
from legato.server.lifecycle import Lifecycle
from legato.server.settings import ServerSettings

OPEN_PATHS = frozenset({"/health", "/ready"})


class GuardMiddleware:
    """Refuses before anything is parsed."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        lifecycle: Lifecycle,
        keys: KeyRing,
        meter: KeyMeter,
    ) -> None:
        self._app = app
        self._keys = keys
        self._meter = meter
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            raise ApiError(404, "there is nothing here but HTTP")
        else:
            with ExitStack() as stack:
                try:
                    self._admit(scope, stack)
                except ApiError as error:
                    await error.response()(scope, receive, send)
                    return
                await self._app(scope, receive, send)

    def _admit(self, scope: Scope, stack: ExitStack) -> None:
        """Enter what goes around the call into `stack`; ApiError where it is not let in."""
        path, is_post = scope["path"], scope["method"] == "POST"
        self._check_host(scope)
        key = self._key_of(scope)
        if path in COMPUTING:
            self._check_open()
        if key is not None:
            scope[CALL].key, scope[CALL].tenant = key.name, key.tenant
        if key is not None and is_post and path in ENDPOINTS:
            stack.enter_context(self._meter.call(key, scope[CALL]))
        if is_post and path in COMPUTING:
            stack.enter_context(self._lifecycle.running())

    def _check_host(self, scope: Scope) -> None:
        if self._hosts and _host(scope) not in self._hosts:
            message = "this Host is not served here; the operator may add it to --allowed-hosts"
            raise ApiError(400, message, code="host_not_allowed")

    def _key_of(self, scope: Scope) -> ApiKey | None:
        """The caller's key; None where none is needed."""
        if scope["path"] in OPEN_PATHS or not self._keys:
            return None
        key = self._keys.find(_authorization(scope))
        if key is None:
            headers = {"WWW-Authenticate": "Bearer"}
            message = "send a valid API key as Authorization: Bearer KEY"
            raise ApiError(401, message, code="invalid_api_key", headers=headers)
        return key

    def _check_open(self) -> None:
        if self._lifecycle.draining:
            refusal = unavailable("the server is shutting down", "shutting_down")
            refusal.headers["Connection"] = "close"
            raise refusal


def _authorization(scope: Scope) -> bytes:
    """The one Authorization header; none or several count as none."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0] if len(values) == 1 else b""


def _host(scope: Scope) -> str:
    host = Headers(scope=scope).get("host", "").lower()
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host
