"""What the server needs from the rest of Legato, as small protocols. It never sees the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from legato.clock import Clock, RealClock
from legato.constrain.compiler import GrammarCompiler
from legato.core import Request, Tenant, TokenEvent, TokenLogprobs
from legato.metrics.price import MachinePrice
from legato.metrics.prometheus import EngineGauges
from legato.server.text_scores import F32, Pooling, Scored
from legato.text.prompt import Renderer
from legato.text.tokenizer import Tokenizer
from legato.tools.dialect import ToolStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """How a token source is doing. `alive` is False once no request can ever be answered."""

    alive: bool = True
    gauges: EngineGauges = field(default_factory=EngineGauges)


class TokenSource(Protocol):
    """Answers a request with token events; closing the iterator cancels the request.

    The first event raises what refuses the request: InvalidRequestError, CapacityError,
    OverloadedError, EngineStoppedError.
    """

    def generate(self, request: Request) -> AsyncIterator[TokenEvent]:
        """The events of all `request.params.n` samples, each ending with a finish reason."""
        ...

    async def embed(
        self, token_ids: Sequence[int], pooling: Pooling, tenant: Tenant
    ) -> Scored[F32]:
        """One vector f32 [dim] of length 1 for a text; see `text_scores.pooled`."""
        ...

    async def score(
        self, token_ids: Sequence[int], count: int, tenant: Tenant
    ) -> Scored[list[TokenLogprobs]]:
        """Log-probabilities of all tokens of a text but the first; `count` alternatives each."""
        ...

    def cancel(self, request_id: str, index: int) -> None:
        """End one sample, whose text is complete; its further events do not matter."""
        ...

    def status(self) -> SourceStatus:
        """The state now; cheap."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One model, ready to be served.

    Attributes:
        model: the name under which it is served.
        source: makes the tokens.
        tokenizer: text to token ids and back.
        template: its chat template; None refuses chat.
        tools: how the model is offered functions and calls them.
        grammars: compiles the forms of answers, for this tokenizer.
        max_context: most tokens of prompt and output together.
        created: Unix time shown by /v1/models.
        clock: stamps arrivals and deliveries.
        price: what the machine costs; None where answers do not tell their price.
        fingerprint: equal seeds give equal texts where this is equal.
    """

    model: str
    source: TokenSource
    tokenizer: Tokenizer
    template: Renderer | None
    grammars: GrammarCompiler
    max_context: int
    created: int
    tools: ToolStyle = field(default_factory=ToolStyle)
    clock: Clock = field(default_factory=RealClock)
    price: MachinePrice | None = None
    fingerprint: str = "legato"
