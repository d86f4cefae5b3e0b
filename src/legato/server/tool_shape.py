"""Chat answers that may call functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from legato.core import FinishReason
from legato.server.answer import Identity
from legato.server.chat_shape import ChatShape
from legato.server.generation import Generation, Piece
from legato.server.openai_logprobs import chat_logprobs
from legato.server.protocol import ChatRequest
from legato.server.shape import Choice
from legato.tools.calls import read_answer
from legato.tools.parts import CallBegin, Part, TextPart, ToolParser


class ToolChatShape(ChatShape):
    """Chat chunks in which the text of calls has become `tool_calls`."""

    def __init__(
        self,
        body: ChatRequest,
        generation: Generation,
        identity: Identity,
        new_parser: Callable[[], ToolParser],
    ) -> None:
        """`new_parser` makes a reader for one choice."""
        super().__init__(body, generation, identity)
        self._parsers = [new_parser() for _ in generation.samples]

    def document_choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """A choice of the JSON document."""
        parser = self._parsers[index]
        text, calls = read_answer(parser, choice.text)
        document = super().document_choice(index, choice)
        document["finish_reason"] = _reason(parser, choice.finish_reason)
        if calls:
            written = [_new_call(call.name, call.arguments) for call in calls]
            document["message"] |= {"content": text or None, "tool_calls": written}
        return document

    def chunks_of(self, piece: Piece, tail: str) -> str:
        """The events that carry `piece`."""
        parser = self._parsers[piece.choice]
        parts = parser.push(piece.text)
        if piece.finish_reason is not None:
            parts += parser.finish()
        deltas = [_delta(part) for part in parts]
        if piece.logprobs and not deltas:
            deltas = [{"content": ""}]
        events = [self.role_chunk(piece.choice)] if piece.first else []
        for place, delta in enumerate(deltas):
            events.append(self.chunk(piece.choice, self._rest(delta, piece, place)))
        if piece.finish_reason is not None:
            reason = _reason(parser, piece.finish_reason)
            events.append(self.end_chunk(piece.choice, reason, tail))
        return "".join(events)

    def _rest(self, delta: dict[str, Any], piece: Piece, place: int) -> str:
        """A chunk's delta; the first of a piece carries its log-probabilities."""
        has_logprobs = self.has_logprobs and place == 0
        logprobs = chat_logprobs(piece.logprobs) if has_logprobs else None
        fields = {"delta": delta, "logprobs": logprobs, "finish_reason": None}
        return json.dumps(fields)[1:-1]


def _reason(parser: ToolParser, reason: FinishReason | None) -> str | None:
    if reason is FinishReason.STOP and parser.num_calls:
        return "tool_calls"
    return reason


def _delta(part: Part) -> dict[str, Any]:
    """A part as OpenAI streams it: a call's id and name first, then its arguments in pieces."""
    if isinstance(part, TextPart):
        return {"content": part.text}
    if isinstance(part, CallBegin):
        call = {"index": part.index, **_new_call(part.name)}
    else:
        call = {"index": part.index, "function": {"arguments": part.text}}
    return {"tool_calls": [call]}


def _new_call(name: str, arguments: str = "") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": function}
