"""An answer's form: pieces of text become the chunks of a stream, or one JSON document.

The parts of a chunk that never change are rendered once, so that an event costs little.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from legato.completion import LogprobEntry
from legato.core import FinishReason
from legato.server.answer import Identity, usage
from legato.server.errors import ApiError
from legato.server.extension import extension
from legato.server.generation import Generation, Piece
from legato.server.protocol import GenerationRequest
from legato.server.respond import DONE, event

encode_text = json.JSONEncoder().encode


class Choice:
    """One choice, collected."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.logprobs: list[LogprobEntry] = []
        self.finish_reason: FinishReason | None = None

    def add(self, piece: Piece) -> None:
        """Append what `piece` brings."""
        self.texts.append(piece.text)
        self.logprobs.extend(piece.logprobs)
        self.finish_reason = piece.finish_reason

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.texts)


class Shape(ABC):
    """Renders one call's answer. A subclass knows chat or completions."""

    def __init__(self, body: GenerationRequest, generation: Generation, identity: Identity) -> None:
        self.body = body
        self.generation = generation
        self.identity = identity
        self.has_logprobs = body.wanted_logprobs is not None
        start = json.dumps(identity.to_json())[:-1] + ', "choices": [{"index": '
        self._open = "data: " + start
        self._no_usage = ', "usage": null' if body.include_usage else ""

    @abstractmethod
    def document_choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """A choice of the JSON document."""

    @abstractmethod
    def chunks_of(self, piece: Piece, tail: str) -> str:
        """The events that carry `piece`; `tail` goes into the one that ends the choice."""

    def chunk(self, index: int, rest: str, tail: str = "") -> str:
        """One event: `rest` continues the choice object, `tail` the document."""
        return f"{self._open}{index}, {rest}}}]{self._usage()}{tail}}}\n\n"

    async def document(self, pieces: AsyncIterator[Piece]) -> dict[str, Any]:
        """The whole answer."""
        choices = [Choice() for _ in self.generation.samples]
        async for piece in pieces:
            choices[piece.choice].add(piece)
        return {
            **self.identity.to_json(),
            "choices": [self.document_choice(*numbered) for numbered in enumerate(choices)],
            "usage": usage(self.generation),
            "legato": self.extension(),
        }

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events, one chunk of bytes per piece."""
        async with aclosing(self.generation.pieces()) as pieces:
            async for piece in pieces:
                tail = "" if piece.finish_reason is None else self._tail()
                yield self.chunks_of(piece, tail).encode()
        yield self._last() + DONE

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which failed."""
        return event(error.body())

    def extension(self) -> dict[str, Any]:
        """The `legato` object."""
        return extension(self.generation, self.body.legato, self.body.metadata)

    def _usage(self) -> str:
        """What a chunk with text says of the usage."""
        if not self.body.continuous_usage:
            return self._no_usage
        return ', "usage": ' + json.dumps(usage(self.generation))

    def _tail(self) -> str:
        """The `legato` object, on the chunk that ends the answer unless a usage chunk follows."""
        if self.body.include_usage or not self.generation.finished:
            return ""
        return ', "legato": ' + json.dumps(self.extension())

    def _last(self) -> bytes:
        """The chunk with the usage, when it was asked for."""
        if not self.body.include_usage:
            return b""
        document = {
            **self.identity.to_json(),
            "choices": [],
            "usage": usage(self.generation),
            "legato": self.extension(),
        }
        return f"data: {json.dumps(document)}\n\n".encode()
