"""POST /v1/chat/completions."""

from __future__ import annotations

import json
from typing import Any

from legato.server.answer import identity
from legato.server.generation import Generation, Piece
from legato.server.openai_logprobs import chat_logprobs
from legato.server.prepare import chat_request
from legato.server.protocol import ChatRequest
from legato.server.service import Service
from legato.server.shape import Choice, Shape, encode_text

_ROLE = '"delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null'


class ChatShape(Shape):
    """Chat chunks: the role, then text, then an empty delta with the finish reason."""

    def document_choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """A choice of the JSON document."""
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": chat_logprobs(choice.logprobs) if self.has_logprobs else None,
            "finish_reason": choice.finish_reason,
        }

    def chunks_of(self, piece: Piece, tail: str) -> str:
        """The events that carry `piece`."""
        events = self.chunk(piece.choice, _ROLE) if piece.first else ""
        if piece.text or piece.logprobs:
            events += self.chunk(piece.choice, self._delta(piece))
        if piece.finish_reason is not None:
            end = f'"delta": {{}}, "logprobs": null, "finish_reason": "{piece.finish_reason}"'
            events += self.chunk(piece.choice, end, tail)
        return events

    def _delta(self, piece: Piece) -> str:
        logprobs = json.dumps(chat_logprobs(piece.logprobs)) if self.has_logprobs else "null"
        return (
            f'"delta": {{"content": {encode_text(piece.text)}}}, '
            f'"logprobs": {logprobs}, "finish_reason": null'
        )


async def answer_chat(
    service: Service, body: ChatRequest, model: str, arrival_ns: int
) -> ChatShape:
    """The answer of `model` to `body`, not yet started."""
    generation = Generation(service, [await chat_request(service, body)], arrival_ns)
    kind = "chat.completion.chunk" if body.stream else "chat.completion"
    return ChatShape(body, generation, identity("chatcmpl", kind, model))
