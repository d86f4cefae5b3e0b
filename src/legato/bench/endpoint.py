"""An OpenAI-compatible endpoint, and how a question to it looks on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from legato.errors import LegatoError
from legato.metrics.price import Price

Message = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to ask and how.

    Attributes:
        url: up to and including /v1; a bare host gets it appended.
        chat: the chat endpoint, else completions.
        model: its name in the request; empty leaves it out.
        key: sent as a bearer token.
        extra: further fields of every body, over everything else.
        name: what reports call it; its host, where it has none.
        price: what it costs; None where nobody said.
    """

    url: str
    chat: bool = True
    model: str = ""
    key: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    price: Price | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise LegatoError(f"not the URL of an endpoint: {self.url!r}; give http://HOST:PORT")
        path = parts.path.rstrip("/") or "/v1"
        object.__setattr__(self, "url", f"{parts.scheme}://{parts.netloc}{path}")

    def request(self, messages: Sequence[Message], max_tokens: int) -> bytes:
        """A streaming POST, head and body."""
        body = json.dumps(self.body(messages, max_tokens)).encode()
        parts = urlsplit(self.url)
        lines = [
            f"POST {parts.path}/{'chat/completions' if self.chat else 'completions'} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Accept: text/event-stream",
            "User-Agent: legato-bench",
            *([f"Authorization: Bearer {self.key}"] if self.key else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def body(self, messages: Sequence[Message], max_tokens: int) -> dict[str, Any]:
        """What is asked; completions get the texts of the messages, a line each."""
        if self.chat:
            question: dict[str, Any] = {"messages": list(messages)}
        else:
            question = {"prompt": "\n".join(message["content"] for message in messages)}
        return {
            **({"model": self.model} if self.model else {}),
            **question,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.extra,
        }


def first_model(endpoint: Endpoint) -> str:
    """The first name that GET /v1/models lists; "" where it lists none or does not answer so."""
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    try:
        answer = httpx.get(f"{endpoint.url}/models", headers=headers, timeout=10.0)
        return str(answer.raise_for_status().json()["data"][0]["id"])
    except httpx.ConnectError as error:
        raise LegatoError(f"nobody answers at {endpoint.url}: {error}") from error
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError):
        return ""
