"""A streaming client for OpenAI-compatible chat endpoints that stamps every chunk on arrival."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from legato.clock import Clock
from legato.errors import LegatoError
from legato.metrics.timeline import Timeline


class EndpointError(LegatoError):
    """The endpoint refused the request, or its stream broke off."""


@dataclass(slots=True)
class Answer:
    """A streamed answer: its text so far, its timeline, and what the server says it used."""

    timeline: Timeline
    text: str = ""
    finish_reason: str | None = None


def stream_chat(url: str, body: dict[str, Any], answer: Answer, clock: Clock) -> Iterator[str]:
    """Ask `url` (up to and including /v1) and yield text as it comes, filling in `answer`.

    The number of tokens comes from `usage`: a token that brought no text of its own (half a
    character, the end of the answer) is stamped with the chunk that closed the stream.

    Raises EndpointError where the answer is not a complete stream.
    """
    request = {**body, "stream": True, "stream_options": {"include_usage": True}}
    try:
        with httpx.stream(
            "POST", f"{url}/chat/completions", json=request, timeout=300.0
        ) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise EndpointError(f"{url} answered {response.status_code}: {response.text[:300]}")
            for chunk in _events(response):
                yield from _take(chunk, answer, clock.now_ns())
    except httpx.HTTPError as error:
        raise EndpointError(f"the stream from {url} broke off: {error}") from error
    if answer.finish_reason is None:
        raise EndpointError(f"the stream from {url} ended without a finish_reason")


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])


def _take(chunk: dict[str, Any], answer: Answer, now_ns: int) -> Iterator[str]:
    if "error" in chunk:
        raise EndpointError(f"the stream ended in an error: {chunk['error']}")
    for choice in chunk.get("choices", ()):
        if text := choice["delta"].get("content"):
            answer.timeline.stamp(now_ns)
            answer.text += text
            yield text
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if usage := chunk.get("usage"):
        answer.timeline.prompt_tokens = usage["prompt_tokens"]
        silent = usage["completion_tokens"] - answer.timeline.output_tokens
        answer.timeline.stamp(now_ns, max(silent, 0))
