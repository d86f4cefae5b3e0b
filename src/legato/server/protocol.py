"""What a generation request may say: every field is honoured, or refused by name.

`strict.py` says what is strict about it, `fields.py` has the types that take words to explain, and
`refusals.py` words the errors.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from legato.server.extension import LegatoOptions
from legato.server.fields import (
    LogitBias,
    MessageText,
    Metadata,
    OnlyFalse,
    Prompt,
    StopStrings,
    StopTokenIds,
)
from legato.server.form_request import FormFields
from legato.server.strict import Strict
from legato.server.tool_request import ToolCallId, ToolCalls, ToolFields
from legato.validate import MAX_SALT_LENGTH, RANGES

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's default of the completions endpoint

Salt = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_SALT_LENGTH, pattern=r"^[!-~]*$")
]
UserName = Annotated[str, StringConstraints(max_length=256)]


def ranged(
    name: str,
    default: float | None,
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
) -> Any:  # noqa: ANN401 - pydantic's own
    """A field with the range that `name` has on every entry point; its least value may differ."""
    least, most = RANGES[name]
    if ge is None and gt is None:
        ge = least
    return Field(default, ge=ge, gt=gt, le=most, description=description)


class StreamOptions(Strict):
    """What a stream carries besides the text."""

    include_usage: bool = Field(False, description="A last chunk with the usage.")
    continuous_usage_stats: bool = Field(
        False, description="The usage so far on every chunk, as vLLM tells it."
    )
    include_obfuscation: OnlyFalse = Field(False, description="Padding is never sent.")


class CallRequest(Strict):
    """What every request that asks for text has in common."""

    model: str | None = Field(
        None, min_length=1, max_length=256, description="A name from /v1/models; else the first."
    )
    temperature: float = ranged("temperature", 1.0, "0 is greedy.")
    top_p: float = ranged("top_p", 1.0, "Nucleus sampling.", gt=0)
    presence_penalty: float = ranged("presence_penalty", 0.0, "Per token in the output.")
    frequency_penalty: float = ranged("frequency_penalty", 0.0, "Per occurrence.")
    logit_bias: LogitBias = Field(default_factory=dict, description="Token id to added logit.")
    seed: int | None = ranged("seed", None, "Makes the text reproducible.")
    stop: StopStrings = Field((), description="Up to 4 strings that end the text.")
    stream: bool = Field(False, description="Server-sent events.")
    user: UserName | None = Field(None, description="Written to the request's log record.")
    metadata: Metadata = Field(
        default_factory=dict, description="Up to 16 short strings, sent back with the answer."
    )
    top_k: int = ranged("top_k", 0, "0 and -1 keep all tokens.", ge=-1)
    min_p: float = ranged("min_p", 0.0, "Relative to the likeliest token.")
    repetition_penalty: float = ranged("repetition_penalty", 1.0, "1 is none (CTRL).")
    min_tokens: int = ranged("min_tokens", 0, "No end before this many tokens.")
    ignore_eos: bool = Field(False, description="Go on after an end-of-sequence token.")
    stop_token_ids: StopTokenIds = Field((), description="Up to 64 token ids that end the text.")
    priority: int = ranged("priority", 0, "Smaller runs earlier.")
    cache_salt: Salt | None = Field(None, description="Prefixes are shared within one salt.")
    store: OnlyFalse = Field(False, description="Answers are never stored.")
    service_tier: Literal["auto", "default"] = Field("auto", description="There is one tier.")
    legato: LegatoOptions = Field(
        default_factory=LegatoOptions, description="What only Legato has; see below."
    )

    refused: ClassVar[frozenset[str]] = frozenset(
        {"prompt_logprobs", "allowed_token_ids", "bad_words", "prompt_cache_key", "best_of"}
        | {"safety_identifier", "chat_template", "chat_template_kwargs", "prompt_embeds"}
    )

    @property
    def pace_ns(self) -> int:
        """The least time between two tokens of a stream; 0 without a pace."""
        return self.legato.pace_ns if self.stream else 0

    @property
    def wanted_samples(self) -> int:
        """Samples of each prompt."""
        return 1

    @property
    def wanted_tokens(self) -> int | None:
        """Most tokens to generate; None means up to the context limit."""
        raise NotImplementedError

    @property
    def wanted_logprobs(self) -> int | None:
        """None for none, else how many alternatives beside the chosen token."""
        raise NotImplementedError


class GenerationRequest(FormFields, CallRequest):
    """What chat and completions have in common."""

    n: int = ranged("n", 1, "Samples of the prompt.")
    max_tokens: int | None = ranged("max_tokens", None, "Most tokens to generate.")
    stream_options: StreamOptions | None = Field(None, description="Only with stream.")

    @property
    def wanted_samples(self) -> int:
        """Samples of each prompt."""
        return self.n

    @property
    def wanted_tokens(self) -> int | None:
        """Most tokens to generate; None means up to the context limit."""
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def continuous_usage(self) -> bool:
        """Whether every chunk of a stream tells the usage so far."""
        return self.stream_options is not None and self.stream_options.continuous_usage_stats


class Message(Strict):
    """One turn of a conversation. `developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    tool_calls: ToolCalls | None = Field(None, description="Of an assistant: what it called.")
    tool_call_id: ToolCallId | None = Field(
        None, validate_default=True, description="Of a tool: which call it answers."
    )
    content: MessageText | None = Field(
        None,
        validate_default=True,
        description="Text, or text parts, which are joined; optional beside tool_calls.",
    )

    refused: ClassVar[frozenset[str]] = frozenset(
        {"name", "function_call", "audio", "refusal", "annotations"}
    )

    @field_validator("tool_calls")
    @classmethod
    def _only_assistants_call(cls, calls: object, info: ValidationInfo) -> object:
        if calls is not None and info.data.get("role") != "assistant":
            raise ValueError("only an assistant's message has tool_calls")
        return calls

    @field_validator("tool_call_id")
    @classmethod
    def _only_tools_answer(cls, call_id: object, info: ValidationInfo) -> object:
        if (call_id is not None) != (info.data.get("role") == "tool"):
            raise ValueError("a tool's message has it, and no other")
        return call_id

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: object, info: ValidationInfo) -> object:
        if content is None and not info.data.get("tool_calls"):
            raise ValueError("is required")
        return content


class ChatRequest(ToolFields, GenerationRequest):
    """POST /v1/chat/completions."""

    messages: tuple[Message, ...] = Field(
        min_length=1, max_length=10_000, strict=False, description="The conversation so far."
    )
    max_completion_tokens: int | None = ranged(
        "max_tokens", None, "The newer name of max_tokens; give one of them."
    )
    logprobs: bool = Field(False, description="Log-probabilities of the chosen tokens.")
    top_logprobs: int | None = ranged("logprobs", None, "Alternatives per token; needs logprobs.")
    modalities: tuple[Literal["text"]] = Field(
        ("text",), strict=False, description="Only text so far."
    )

    refused: ClassVar[frozenset[str]] = GenerationRequest.refused | {
        *("functions", "function_call", "audio"),
        *("prediction", "reasoning_effort", "verbosity", "web_search_options"),
        *("add_generation_prompt", "continue_final_message", "echo", "moderation"),
    }

    @property
    def wanted_tokens(self) -> int | None:
        """Most tokens to generate; None means up to the context limit."""
        return self.max_tokens if self.max_tokens is not None else self.max_completion_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """None for none, else how many alternatives beside the chosen token."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(GenerationRequest):
    """POST /v1/completions."""

    prompt: Prompt = Field(description="Text, token ids, or a list of either.")
    max_tokens: int | None = ranged(
        "max_tokens", DEFAULT_COMPLETION_TOKENS, "Most tokens; 0 needs echo.", ge=0
    )
    logprobs: int | None = ranged("logprobs", None, "Log-probabilities and alternatives per token.")
    echo: bool = Field(False, description="The text starts with the prompt; so do its logprobs.")

    refused: ClassVar[frozenset[str]] = GenerationRequest.refused | {"suffix"}

    @property
    def wanted_logprobs(self) -> int | None:
        """None for none, else how many alternatives beside the chosen token."""
        return self.logprobs
