"""The answers of /v1/responses, as models: for the OpenAPI schema, and for the tests."""

from __future__ import annotations

from typing import Any, Literal

from legato.server.answer_models import Answer, ChosenLogprob, Extension


class OutputText(Answer):
    """The text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[None]
    logprobs: list[ChosenLogprob]


class OutputMessage(Answer):
    """Text of the assistant."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class OutputCall(Answer):
    """A call of a function; `arguments` is JSON text."""

    id: str
    type: Literal["function_call"]
    status: Literal["in_progress", "completed", "incomplete"]
    call_id: str
    name: str
    arguments: str


class ResponseTool(Answer):
    """A function that could be called."""

    type: Literal["function"]
    name: str
    description: str | None
    parameters: dict[str, Any]
    strict: bool


class InputDetails(Answer):
    """Where the input's tokens came from."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(Answer):
    """There is no hidden reasoning."""

    reasoning_tokens: Literal[0]


class ResponseUsage(Answer):
    """Tokens read and written."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(Answer):
    """Why an answer has no proper end."""

    reason: Literal["max_output_tokens"]


class ResponseFailure(Answer):
    """Why an answer failed."""

    code: Literal["server_error"]
    message: str


class ResponseDocument(Answer):
    """The answer of /v1/responses, and what the first and last events of its stream carry."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: ResponseFailure | None
    incomplete_details: Incomplete | None
    model: str
    output: list[OutputMessage | OutputCall]
    usage: ResponseUsage | None
    instructions: str | None
    max_output_tokens: int | None
    temperature: float
    top_p: float
    top_logprobs: int
    metadata: dict[str, str]
    user: str | None
    background: Literal[False]
    store: Literal[False]
    previous_response_id: None
    parallel_tool_calls: bool
    tool_choice: Any
    tools: list[ResponseTool]
    truncation: Literal["disabled"]
    service_tier: Literal["default"]
    text: dict[str, Any]
    reasoning: None
    legato: Extension | None = None


class ResponseEvent(Answer):
    """One event of a stream: its type, its number, and what that type carries."""

    type: Literal[
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
    ]
    sequence_number: int
    response: ResponseDocument | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    item: OutputMessage | OutputCall | None = None
    part: OutputText | None = None
    delta: str | None = None
    text: str | None = None
    arguments: str | None = None
    logprobs: list[ChosenLogprob] | None = None
