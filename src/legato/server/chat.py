"""POST /v1/chat/completions."""

from __future__ import annotations

from functools import partial

from legato.server.answer import Asked, identity
from legato.server.chat_shape import ChatShape
from legato.server.prepare import chat_request
from legato.server.protocol import ChatRequest
from legato.server.service import Service
from legato.server.tool_shape import ToolChatShape
from legato.tools.reading import make_parser


async def answer_chat(service: Service, body: ChatRequest, asked: Asked) -> ChatShape:
    """The answer to `body`, not yet started."""
    use = body.tool_use
    request = await chat_request(service, body, use)
    generation = asked.started(service, [request], body.pace_ns)
    kind = "chat.completion.chunk" if body.stream else "chat.completion"
    named = identity("chatcmpl", kind, asked.model, service.fingerprint)
    if not use.functions:
        return ChatShape(body, generation, named)
    prescribed = request.constraint is not None
    new_parser = partial(make_parser, service.tools.dialect, use, prescribed=prescribed)
    return ToolChatShape(body, generation, named, new_parser)
