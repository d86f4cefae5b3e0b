"""POST /v1/responses: one message as a JSON document, or as OpenAI's sequence of events."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from legato.completion import LogprobEntry
from legato.core import FinishReason
from legato.server.errors import ApiError
from legato.server.extension import extension
from legato.server.generation import Generation, Piece
from legato.server.openai_logprobs import chat_logprobs
from legato.server.prepare import response_request
from legato.server.response_request import ResponseRequest
from legato.server.service import Service
from legato.server.shape import Choice, encode_text

_CONSTANT: dict[str, Any] = {
    "background": False,
    "store": False,
    "previous_response_id": None,
    "parallel_tool_calls": False,
    "tool_choice": "none",
    "tools": [],
    "truncation": "disabled",
    "service_tier": "default",
    "reasoning": None,
}
_PLACE = {"output_index": 0, "content_index": 0}


class ResponseShape:
    """Renders one answer. The parts of an event that never change are rendered once."""

    def __init__(self, body: ResponseRequest, generation: Generation, model: str) -> None:
        self.generation = generation
        self._body = body
        self._choice = Choice()
        self._has_logprobs = body.wanted_logprobs is not None
        self._item_id = f"msg_{uuid4().hex}"
        self._number = 0
        self._identity = {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
        }
        self._open_delta = (
            'event: response.output_text.delta\ndata: {"type": "response.output_text.delta", '
            f'"item_id": "{self._item_id}", "output_index": 0, "content_index": 0, '
            '"sequence_number": '
        )

    async def document(self, pieces: AsyncIterator[Piece]) -> dict[str, Any]:
        """The whole answer."""
        async for piece in pieces:
            self._choice.add(piece)
        return self._final()

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events, one chunk of bytes per piece."""
        async with aclosing(self.generation.pieces()) as pieces:
            async for piece in pieces:
                self._choice.add(piece)
                chunk = self._beginning() if piece.first else ""
                if piece.text or piece.logprobs:
                    chunk += self._delta(piece)
                if piece.finish_reason is not None:
                    chunk += self._ending()
                if chunk:
                    yield chunk.encode()

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which failed."""
        detail = {"code": "server_error", "message": str(error)}
        response = self._document("failed", output=[], error=detail)
        return self._event("response.failed", response=response).encode()

    def _beginning(self) -> str:
        response = self._document("in_progress", output=[])
        part = self._part("", ())
        return (
            self._event("response.created", response=response)
            + self._event("response.in_progress", response=response)
            + self._event(
                "response.output_item.added", output_index=0, item=self._message("in_progress", [])
            )
            + self._place_event("response.content_part.added", part=part)
        )

    def _delta(self, piece: Piece) -> str:
        logprobs = json.dumps(self._logprobs(piece.logprobs))
        self._number += 1
        return (
            f"{self._open_delta}{self._number - 1}, "
            f'"delta": {encode_text(piece.text)}, "logprobs": {logprobs}}}\n\n'
        )

    def _ending(self) -> str:
        choice = self._choice
        part = self._part(choice.text, choice.logprobs)
        final = self._final()
        return (
            self._place_event(
                "response.output_text.done", text=part["text"], logprobs=part["logprobs"]
            )
            + self._place_event("response.content_part.done", part=part)
            + self._event("response.output_item.done", output_index=0, item=final["output"][0])
            + self._event(f"response.{final['status']}", response=final)
        )

    def _final(self) -> dict[str, Any]:
        """The complete response object."""
        choice = self._choice
        cut = choice.finish_reason is FinishReason.LENGTH
        status = "incomplete" if cut else "completed"
        message = self._message(status, [self._part(choice.text, choice.logprobs)])
        return self._document(
            status,
            output=[message],
            completed_at=None if cut else int(time.time()),
            incomplete_details={"reason": "max_output_tokens"} if cut else None,
            usage=_usage(self.generation),
            legato=extension(self.generation, self._body.legato, {}),
        )

    def _document(self, status: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        undecided = dict.fromkeys(("error", "incomplete_details", "usage", "completed_at"))
        settings = {**_CONSTANT, **self._body.settings()}
        return {**self._identity, "status": status, **undecided, **settings, **parts}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _part(self, text: str, logprobs: Sequence[LogprobEntry]) -> dict[str, Any]:
        entries = self._logprobs(logprobs)
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": entries}

    def _logprobs(self, entries: Sequence[LogprobEntry]) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = chat_logprobs(entries)["content"]
        return content if self._has_logprobs else []

    def _place_event(self, kind: str, **members: Any) -> str:  # noqa: ANN401 - JSON
        return self._event(kind, item_id=self._item_id, **_PLACE, **members)

    def _event(self, kind: str, **members: Any) -> str:  # noqa: ANN401 - JSON
        document = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        return f"event: {kind}\ndata: {json.dumps(document)}\n\n"


def _usage(generation: Generation) -> dict[str, Any]:
    output = sum(timeline.output_tokens for timeline in generation.timelines)
    return {
        "input_tokens": generation.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": generation.cached_tokens,
            "cache_write_tokens": 0,
        },
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": generation.prompt_tokens + output,
    }


async def answer_response(
    service: Service, body: ResponseRequest, model: str, arrival_ns: int
) -> ResponseShape:
    """The answer of `model` to `body`, not yet started."""
    generation = Generation(
        service, [await response_request(service, body)], arrival_ns, body.pace_ns
    )
    return ResponseShape(body, generation, model)
