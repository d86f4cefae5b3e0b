"""What `LLM` gives: results, and the requests that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from legato.completion import SampleText, TextDelta
from legato.core import FinishReason, Outcome, Request, SamplingParams, TokenEvent, TokenLogprobs
from legato.tools.calls import ToolCall


@dataclass(slots=True)
class SampleResult:
    """One sample of a prompt.

    Attributes:
        token_ids: all tokens, with the one that ended the sequence.
        logprobs: one entry per token, where they were asked for.
        token_times_ns: when the step of each token ended.
        tool_calls: where functions were offered, those that were called.
    """

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] | None = None
    finish_reason: FinishReason | None = None
    error: str | None = None
    token_times_ns: list[int] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)


@dataclass(slots=True)
class GenerationResult:
    """What a prompt was continued with; one output per sample.

    Attributes:
        prompt: the text, or None where token ids were given.
        cached_tokens: prompt tokens that came from the prefix cache.
        arrival_ns: when the prompt was handed to the engine; same clock as `token_times_ns`.
        outcome: of a request that decided how many samples it draws.
    """

    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[SampleResult]
    arrival_ns: int
    cached_tokens: int = 0
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer to a question that took as many samples as it needed.

    Attributes:
        text: what the winning sample says.
        outcome: how it was decided, and what it took.
        result: the winner with its tokens.
    """

    text: str
    outcome: Outcome
    result: GenerationResult

    @property
    def answer(self) -> str | None:
        """The winner's answer, normalised; None where it has none."""
        return self.outcome.answer

    @property
    def votes(self) -> Mapping[str, int]:
        """Answer → samples that gave it, most first."""
        return self.outcome.votes


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt and its token ids."""

    text: str | None
    token_ids: tuple[int, ...]


class Job:
    """The result of one request in the making."""

    def __init__(
        self,
        request: Request,
        prompt: Encoded,
        arrival_ns: int,
        new_text: Callable[[SamplingParams], SampleText],
    ) -> None:
        params = request.params
        self.request_id = request.id
        self.unfinished = params.n
        self._texts = [new_text(params) for _ in range(params.n)]
        logprobs = params.logprobs is not None
        self.result = GenerationResult(
            prompt=prompt.text,
            prompt_token_ids=list(prompt.token_ids),
            outputs=[SampleResult(i, logprobs=[] if logprobs else None) for i in range(params.n)],
            arrival_ns=arrival_ns,
        )

    def take(self, event: TokenEvent) -> bool:
        """Add `event`; True where its sample has ended by a stop string, of which the engine
        does not know."""
        text, output = self._texts[event.index], self.result.outputs[event.index]
        self.result.outcome = event.outcome or self.result.outcome
        if text.finish_reason is not None:
            return False
        delta = text.push(event)
        _add(output, event, delta)
        self.result.cached_tokens = max(self.result.cached_tokens, event.cached_tokens)
        self.unfinished -= delta.finish_reason is not None
        return delta.finish_reason is not None and event.finish_reason is None


def _add(output: SampleResult, event: TokenEvent, delta: TextDelta) -> None:
    output.text += delta.text
    output.finish_reason = delta.finish_reason
    output.error = delta.error
    if event.token_id is not None:
        output.token_ids.append(event.token_id)
        output.token_times_ns.append(event.time_ns)
    if output.logprobs is not None and event.logprobs is not None:
        output.logprobs.append(event.logprobs)
