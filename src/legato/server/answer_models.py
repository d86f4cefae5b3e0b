"""The answers of chat and completions, as models: they make the OpenAPI schema, and tests hold the
answers to them. `response_models` has those of /v1/responses, `other_answers` the others."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Finish = Literal["stop", "length"]
ChatFinish = Literal["stop", "length", "tool_calls"]


class Answer(BaseModel):
    """Exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class CachedTokens(Answer):
    """Where the prompt's tokens came from."""

    cached_tokens: int


class Usage(Answer):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class TokenTimes(Answer):
    """Milliseconds from the request's arrival, one entry per token of a choice."""

    step_ms: list[float]
    delivery_ms: list[float]


class Timing(Answer):
    """Milliseconds, measured in the server; null without tokens (TPOT: with only one).

    `choices` where the request asked for the times of every token.
    """

    queue_ms: float | None
    prefill_ms: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    total_ms: float | None
    choices: list[TokenTimes] | None = None


class Cost(Answer):
    """Machine time of this answer, and its price in the currency of --price-per-hour."""

    machine_ms: float
    price: float


class Speculation(Answer):
    """Tokens that speculation guessed for this answer, and those of them that were right."""

    drafted: int
    accepted: int


class ComputeReport(Answer):
    """What became of a question that took as many samples as it needed.

    `votes` are of the samples that counted, most first; of `samples_used`, those begun.
    """

    answer: str | None
    votes: dict[str, int]
    confidence: float | None
    winner: int
    samples_counted: int
    samples_used: int
    samples_pruned: int
    samples_saved: int
    tokens: int
    machine_ms: float


class Extension(Answer):
    """What OpenAI's answer has no place for. `cost` where the machine has a price, `compute` where
    it was asked for, `speculation` where tokens were guessed."""

    timing: Timing
    cached_tokens: int
    speculation: Speculation | None = None
    compute: ComputeReport | None = None
    cost: Cost | None = None
    metadata: dict[str, str] | None = None


class TokenLogprob(Answer):
    """A token with its log-probability."""

    token: str
    logprob: float
    bytes: list[int]


class ChosenLogprob(TokenLogprob):
    """The token that came, and the likeliest ones at its place."""

    top_logprobs: list[TokenLogprob]


class ChatLogprobs(Answer):
    """Log-probabilities of a chat choice."""

    content: list[ChosenLogprob]
    refusal: None


class FunctionCall(Answer):
    """What is called; `arguments` is JSON text."""

    name: str
    arguments: str


class MessageToolCall(Answer):
    """A call of a function."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class AssistantMessage(Answer):
    """The answer's text, null where it only calls functions."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[MessageToolCall] | None = None


class ChatChoice(Answer):
    """One sample."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: ChatFinish


class FunctionCallDelta(Answer):
    """The name, once, and pieces of the arguments."""

    name: str | None = None
    arguments: str


class ToolCallDelta(Answer):
    """What a chunk adds to call number `index`; its first chunk has id and type."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionCallDelta


class ChatDelta(Answer):
    """What a chunk adds; empty on the chunk with the finish reason."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChatChunkChoice(Answer):
    """What a chunk adds to one sample."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: ChatFinish | None


class CompletionLogprobs(Answer):
    """Log-probabilities of a completions choice, one list entry per token.

    Null for the first token of an echoed prompt, which nothing comes before.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(Answer):
    """One sample, or in a stream what a chunk adds to it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish | None


class Identified(Answer):
    """What every answer starts with."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class ChatCompletion(Identified):
    """The answer of /v1/chat/completions."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage
    legato: Extension


class ChatCompletionChunk(Identified):
    """One event of a chat stream. `legato` is on the last one."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
    legato: Extension | None = None


class Completion(Identified):
    """The answer of /v1/completions, and one event of its stream."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: Usage | None = None
    legato: Extension | None = None
