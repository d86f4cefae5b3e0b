"""POST /v1/completions."""

from __future__ import annotations

import json
from typing import Any

from legato.server.answer import Asked, identity
from legato.server.echo import Echo, echo_of
from legato.server.generation import Generation, Piece
from legato.server.prepare import completion_requests
from legato.server.protocol import CompletionRequest
from legato.server.service import Service
from legato.server.shape import Choice, Shape, encode_text


class CompletionShape(Shape):
    """Text chunks; the last one of a choice has its finish reason. `echoes`: one per choice."""

    def __init__(
        self, body: CompletionRequest, generation: Generation, model: str, echoes: list[Echo]
    ) -> None:
        fingerprint = generation.service.fingerprint
        super().__init__(body, generation, identity("cmpl", "text_completion", model, fingerprint))
        self._echoes = echoes

    def document_choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """A choice of the JSON document."""
        return {
            "index": index,
            "text": self._echoes[index].text + choice.text,
            "logprobs": self._echoes[index].before(choice.logprobs) if self.has_logprobs else None,
            "finish_reason": choice.finish_reason,
        }

    def chunks_of(self, piece: Piece, tail: str) -> str:
        """The event that carries `piece`."""
        text = self._echoes[piece.choice].text + piece.text if piece.first else piece.text
        reason = "null" if piece.finish_reason is None else f'"{piece.finish_reason}"'
        rest = (
            f'"text": {encode_text(text)}, "logprobs": {self._logprobs(piece)}, '
            f'"finish_reason": {reason}'
        )
        return self.chunk(piece.choice, rest, tail)

    def _logprobs(self, piece: Piece) -> str:
        if not self.has_logprobs:
            return "null"
        echo = self._echoes[piece.choice]
        before = echo if piece.first else Echo(echo.text)
        return json.dumps(before.before(piece.logprobs))


async def answer_completion(
    service: Service, body: CompletionRequest, asked: Asked
) -> CompletionShape:
    """The answer to `body`, not yet started, but for the log-probabilities of an echo."""
    requests = await completion_requests(service, body)
    echoes = [Echo()] * len(requests)
    if body.echo:
        count = body.wanted_logprobs
        prompts = zip(body.prompt, requests, strict=True)
        echoes = [
            await echo_of(service, item, r.prompt, count, asked.tenant) for item, r in prompts
        ]
    generation = asked.started(service, requests, body.pace_ns)
    generation.machine_ns += sum(echo.machine_ns for echo in echoes)
    each = [echo for echo in echoes for _ in range(body.wanted_samples)]
    return CompletionShape(body, generation, asked.model, each)
