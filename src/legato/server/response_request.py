"""What a request to /v1/responses may say."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from legato.constrain.form import OutputForm
from legato.server.fields import OnlyFalse
from legato.server.form_request import FORM_FIELDS, ResponseTextFormat
from legato.server.protocol import CallRequest, ranged
from legato.server.response_items import InputItems
from legato.server.strict import Strict
from legato.server.tool_request import ResponseToolFields

MAX_ITEMS = 10_000
INCLUDE_LOGPROBS = "message.output_text.logprobs"


class TextOptions(Strict):
    """The form of the answer's text."""

    format: ResponseTextFormat = Field(None, description="Text, a JSON object, or a schema.")

    refused: ClassVar[frozenset[str]] = frozenset({"verbosity"})


class ResponseStreamOptions(Strict):
    """What a stream carries besides the text."""

    include_obfuscation: OnlyFalse = Field(False, description="Padding is never sent.")


class ResponseRequest(ResponseToolFields, CallRequest):
    """POST /v1/responses."""

    input: InputItems = Field(
        min_length=1,
        max_length=MAX_ITEMS,
        strict=False,
        description="A text, or the conversation so far.",
    )
    instructions: str | None = Field(None, description="The system message before the input.")
    max_output_tokens: int | None = ranged("max_tokens", None, "Most tokens to generate.")
    include: tuple[Literal["message.output_text.logprobs"], ...] = Field(
        (), max_length=1, strict=False, description="Log-probabilities, or nothing."
    )
    top_logprobs: int | None = ranged("logprobs", None, "Alternatives per token; needs include.")
    text: TextOptions | None = Field(None, description="The form of the answer.")
    stream_options: ResponseStreamOptions | None = Field(None, description="Only with stream.")
    truncation: Literal["disabled"] = Field("disabled", description="Nothing is cut off.")
    background: OnlyFalse = Field(False, description="Answers come at once.")

    refused: ClassVar[frozenset[str]] = CallRequest.refused | {
        *FORM_FIELDS,
        *("previous_response_id", "conversation", "prompt", "reasoning", "context_management"),
        *("max_tool_calls", "moderation"),
        *("prompt_cache_options", "prompt_cache_retention", "image", "access_programs"),
        *("n", "max_tokens", "max_completion_tokens", "logprobs", "echo"),
        *("messages", "suffix"),
    }

    @property
    def wanted_tokens(self) -> int | None:
        """Most tokens to generate; None means up to the context limit."""
        return self.max_output_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """None for none, else how many alternatives beside the chosen token."""
        return (self.top_logprobs or 0) if self.include else None

    @property
    def output_form(self) -> OutputForm | None:
        """The form of the answer; None for any text."""
        chosen = self.text.format if self.text is not None else None
        return None if chosen is None else chosen.form

    @property
    def _text_format(self) -> dict[str, Any]:
        chosen = self.text.format if self.text is not None else None
        return {"type": "text"} if chosen is None else chosen.given

    def settings(self) -> dict[str, Any]:
        """The fields that an answer repeats, with defaults filled in."""
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_logprobs": self.top_logprobs or 0,
            "metadata": self.metadata,
            "user": self.user,
            "text": {"format": self._text_format},
            "tools": self.tools.given,
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
        }
