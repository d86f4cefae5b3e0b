"""POST /v1/responses: items as a JSON document, or as OpenAI's sequence of events."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from legato.completion import LogprobEntry
from legato.core import FinishReason
from legato.server.answer import Asked
from legato.server.errors import ApiError
from legato.server.extension import extension
from legato.server.generation import Generation, Piece
from legato.server.prepare import response_request
from legato.server.response_output import EventWriter, Output
from legato.server.response_request import ResponseRequest
from legato.server.service import Service
from legato.server.shape import Choice
from legato.tools.parts import CallArguments, CallBegin, Part, TextPart, ToolParser
from legato.tools.reading import make_parser

_CONSTANT: dict[str, Any] = {
    "background": False,
    "store": False,
    "previous_response_id": None,
    "truncation": "disabled",
    "service_tier": "default",
    "reasoning": None,
}


class ResponseShape:
    """Renders one answer."""

    def __init__(
        self,
        body: ResponseRequest,
        generation: Generation,
        model: str,
        parser: ToolParser | None = None,
    ) -> None:
        """`parser` reads calls from the text; None where there can be none."""
        self.generation = generation
        self._body = body
        self._parser = parser
        self._events = EventWriter()
        self._output = Output(self._events, has_logprobs=body.wanted_logprobs is not None)
        self._logprobs: list[LogprobEntry] = []  # of text that is not given out yet
        self._reason: FinishReason | None = None
        self._identity = {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
        }

    async def document(self, pieces: AsyncIterator[Piece]) -> dict[str, Any]:
        """The whole answer."""
        choice = Choice()
        async for piece in pieces:
            choice.add(piece)
        self._reason = choice.finish_reason
        self._said(choice.text, choice.logprobs, is_last=True)
        self._output.close(self._status)
        return self._final()

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events, one chunk of bytes per piece."""
        async with aclosing(self.generation.pieces()) as pieces:
            async for piece in pieces:
                self._reason = piece.finish_reason
                is_last = piece.finish_reason is not None
                chunk = self._beginning() if piece.first else ""
                chunk += self._said(piece.text, piece.logprobs, is_last=is_last)
                if is_last:
                    chunk += self._ending()
                if chunk:
                    yield chunk.encode()

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which failed."""
        detail = {"code": "server_error", "message": str(error)}
        response = self._document("failed", output=[], error=detail)
        return self._events.event("response.failed", response=response).encode()

    def _beginning(self) -> str:
        response = self._document("in_progress", output=[])
        events = self._events.event("response.created", response=response)
        events += self._events.event("response.in_progress", response=response)
        return events + (self._output.text("", ()) if self._parser is None else "")

    def _said(self, text: str, logprobs: Iterable[LogprobEntry], *, is_last: bool) -> str:
        """The events of more text."""
        if self._parser is None:
            return self._output.text(text, tuple(logprobs))
        self._logprobs += logprobs
        parts = self._parser.push(text)
        parts += self._parser.finish() if is_last else []
        return "".join(map(self._part_events, parts))

    def _part_events(self, part: Part) -> str:
        """Log-probabilities go with the text that comes next; those of a call have no place."""
        logprobs, self._logprobs = self._logprobs, []
        match part:
            case TextPart(text):
                return self._output.text(text, logprobs)
            case CallBegin(_, name):
                return self._output.begin_call(name)
            case CallArguments(_, text):
                return self._output.arguments(text)

    def _ending(self) -> str:
        events = self._output.close(self._status)
        final = self._final()
        return events + self._events.event(f"response.{final['status']}", response=final)

    @property
    def _status(self) -> str:
        return "incomplete" if self._reason is FinishReason.LENGTH else "completed"

    def _final(self) -> dict[str, Any]:
        """The complete response object."""
        cut = self._status == "incomplete"
        return self._document(
            self._status,
            output=self._output.documents,
            completed_at=None if cut else int(time.time()),
            incomplete_details={"reason": "max_output_tokens"} if cut else None,
            usage=_usage(self.generation),
            legato=extension(self.generation, self._body.legato, {}),
        )

    def _document(self, status: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        undecided = dict.fromkeys(("error", "incomplete_details", "usage", "completed_at"))
        settings = {**_CONSTANT, **self._body.settings()}
        return {**self._identity, "status": status, **undecided, **settings, **parts}


def _usage(generation: Generation) -> dict[str, Any]:
    output = generation.output_tokens
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


async def answer_response(service: Service, body: ResponseRequest, asked: Asked) -> ResponseShape:
    """The answer to `body`, not yet started."""
    use = body.tool_use
    request = await response_request(service, body, use)
    generation = asked.started(service, [request], body.pace_ns)
    parser = None
    if use.functions:
        prescribed = request.constraint is not None
        parser = make_parser(service.tools.dialect, use, prescribed=prescribed)
    return ResponseShape(body, generation, asked.model, parser)
