"""Chat answers: one JSON document, or chunks."""

from __future__ import annotations

import json
from typing import Any

from legato.server.generation import Piece
from legato.server.openai_logprobs import chat_logprobs
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
        events = self.role_chunk(piece.choice) if piece.first else ""
        if piece.text or piece.logprobs:
            events += self.chunk(piece.choice, self._delta(piece))
        if piece.finish_reason is not None:
            events += self.end_chunk(piece.choice, piece.finish_reason, tail)
        return events

    def role_chunk(self, index: int) -> str:
        """The event that opens choice `index`."""
        return self.chunk(index, _ROLE)

    def end_chunk(self, index: int, reason: str | None, tail: str) -> str:
        """The event that ends choice `index`."""
        end = f'"delta": {{}}, "logprobs": null, "finish_reason": "{reason}"'
        return self.chunk(index, end, tail)

    def _delta(self, piece: Piece) -> str:
        logprobs = json.dumps(chat_logprobs(piece.logprobs)) if self.has_logprobs else "null"
        return (
            f'"delta": {{"content": {encode_text(piece.text)}}}, '
            f'"logprobs": {logprobs}, "finish_reason": null'
        )
