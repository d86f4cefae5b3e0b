"""What `LLM` gives, and the prompts that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from legato.core import FinishReason, Outcome, TokenLogprobs
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
