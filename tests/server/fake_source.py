"""A token source without a model, and a tokenizer whose tokens are bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from legato.constrain.compiler import GrammarCompiler
from legato.core import FinishReason, Request, Tenant, TokenEvent, TokenLogprobs
from legato.errors import InvalidRequestError
from legato.server.service import Service, SourceStatus
from legato.server.text_scores import Scored

EOS = 256
BOS = 257
MACHINE_NS = 2_000_000


class ByteTokenizer:
    """Token i is byte i; then the end and the beginning of a sequence."""

    vocab_size = 258
    bos_id = BOS
    eos_ids = frozenset({EOS})
    special_ids = frozenset({EOS, BOS})
    strips_space = False

    def least_tokens(self, text: str) -> int:
        return len(text.encode())

    def special_spans(self, text: str) -> list[tuple[int, int]]:
        return []

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True
    ) -> list[int]:
        return ([BOS] if add_special_tokens else []) + list(text.encode())

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        kept = [i for i in ids if i < EOS or not skip_special_tokens]
        return b"".join(map(self.token_bytes, kept)).decode(errors="replace")

    def token_text(self, token_id: int) -> str:
        return self.token_bytes(token_id).decode(errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < EOS else (b"<eos>", b"<bos>")[token_id - EOS]


class PlainTemplate:
    def render(self, messages: Sequence[Any], *, tools: Any = None) -> str:
        if any(message["content"] == "template fault" for message in messages):
            raise InvalidRequestError("the template refuses this", param="messages")
        return "".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant:"


@dataclass
class FakeSource:
    """Says `reply` byte by byte for every sample, n samples in turn.

    Attributes:
        before: awaited before event number i; can wait, or raise.
        refusal: raised instead of a first event.
    """

    reply: str = "Hello, world"
    before: Callable[[int], Any] | None = None
    refusal: Exception | None = None
    cached: int = 0
    started_ns: int | None = None
    state: SourceStatus = field(default_factory=SourceStatus)
    requests: list[Request] = field(default_factory=list)
    computed: list[tuple[int, ...]] = field(default_factory=list)
    tenants: list[Tenant] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    cancelled_samples: list[tuple[str, int]] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def cancel(self, request_id: str, index: int) -> None:
        self.cancelled_samples.append((request_id, index))

    def status(self) -> SourceStatus:
        return self.state

    async def embed(self, token_ids: Sequence[int], pooling: Any, tenant: Tenant) -> Scored[Any]:
        await self._computed(token_ids, tenant)
        vector = np.array([sum(token_ids) if pooling == "mean" else token_ids[-1], 1], np.float32)
        return Scored(vector / np.linalg.norm(vector), MACHINE_NS)

    async def score(self, token_ids: Sequence[int], count: int, tenant: Tenant) -> Scored[Any]:
        await self._computed(token_ids, tenant)
        return Scored([logprobs_of(token, count) for token in token_ids[1:]], MACHINE_NS)

    async def _computed(self, token_ids: Sequence[int], tenant: Tenant) -> None:
        self.computed.append(tuple(token_ids))
        self.tenants.append(tenant)
        if self.refusal is not None:
            raise self.refusal
        if self.before is not None:
            await self.before(0)

    async def generate(self, request: Request) -> AsyncIterator[TokenEvent]:
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        ended = False
        try:
            for number, event in enumerate(self._events(request)):
                if self.before is not None:
                    await self.before(number)
                yield event
            ended = True
        finally:
            if not ended:
                self.cancelled.append(request.id)
            self.closed.set()

    def _events(self, request: Request) -> list[TokenEvent]:
        tokens = [*self.reply.encode(), EOS]
        limit = request.params.max_tokens
        assert limit is not None
        events = []
        for place, token in enumerate(tokens[:limit]):
            reason = None
            if token == EOS:
                reason = FinishReason.STOP
            elif place == limit - 1:
                reason = FinishReason.LENGTH
            for index in range(request.params.n):
                events.append(self._event(request, index, token, place, reason))
        return events

    def _event(self, request: Request, index: int, token: int, place: int, reason: Any):
        return TokenEvent(
            request_id=request.id,
            index=index,
            token_id=token,
            time_ns=place,
            logprobs=logprobs_of(token, request.params.logprobs),
            finish_reason=reason,
            cached_tokens=self.cached if place == 0 else 0,
            started_ns=self.started_ns if place == 0 else None,
        )


def logprobs_of(token: int, count: int | None) -> TokenLogprobs | None:
    if count is None:
        return None
    likeliest = [(token, -0.25), *((other, -1.0 - other) for other in range(64, 90))]
    return TokenLogprobs(-0.25, tuple(likeliest[:count]))


def make_service(source: FakeSource, **changes: Any) -> Service:
    parts: dict[str, Any] = {
        "model": "tiny",
        "source": source,
        "tokenizer": ByteTokenizer(),
        "template": PlainTemplate(),
        "grammars": GrammarCompiler(ByteTokenizer()),
        "max_context": 256,
        "created": 1_700_000_000,
    }
    return Service(**{**parts, **changes})
