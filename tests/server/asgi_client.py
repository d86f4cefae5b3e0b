"""Calls an ASGI app directly, in one event loop, and can go away in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

JSON = (b"content-type", b"application/json")


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json()["error"]

    def events(self) -> list[Any]:
        """The data of every server-sent event; [DONE] as text."""
        lines = self.body.decode().split("\n\n")
        assert lines.pop() == ""
        data = [line.removeprefix("data: ") for line in lines]
        return [item if item == "[DONE]" else json.loads(item) for item in data]


class AsgiCall:
    """One call. `gone` makes the client vanish; `arrived` is set with each chunk."""

    def __init__(self, app: Any, scope: dict[str, Any], parts: Iterable[bytes]) -> None:
        self.app = app
        self.scope = scope
        self.parts = list(parts)
        self.answer = Answer()
        self.gone = asyncio.Event()
        self.arrived = asyncio.Event()

    async def run(self) -> Answer:
        await self.app(self.scope, self._receive, self._send)
        self.answer.body = b"".join(self.answer.chunks)
        return self.answer

    async def _receive(self) -> dict[str, Any]:
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        elif message["body"]:
            self.answer.chunks.append(message["body"])
            self.arrived.set()


class AsgiClient:
    def __init__(self, app: Any) -> None:
        self.app = app

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> AsgiCall:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        return AsgiCall(self.app, scope, [body] if isinstance(body, bytes) else body)

    def start_post(self, path: str, document: Any) -> AsgiCall:
        return self.call("POST", path, json.dumps(document).encode(), [JSON])

    def post(self, path: str, document: Any, *headers: tuple[bytes, bytes]) -> Answer:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return asyncio.run(self.call("POST", path, body, [JSON, *headers]).run())

    def get(self, path: str, *headers: tuple[bytes, bytes]) -> Answer:
        return asyncio.run(self.call("GET", path, b"", headers).run())
