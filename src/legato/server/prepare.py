"""From a validated body to what the engine is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

from legato.compute import make_compute
from legato.core import Constraint, Request, SamplingParams
from legato.errors import InvalidRequestError
from legato.server.errors import bad_request
from legato.server.fields import PromptItem
from legato.server.protocol import (
    CallRequest,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    Message,
)
from legato.server.response_items import turns_of
from legato.server.response_request import ResponseRequest
from legato.server.service import Service
from legato.server.tool_prepare import tool_constraint
from legato.text.prompt import Renderer, chat_prompt, text_prompt
from legato.tools.function import NO_TOOLS, ToolUse
from legato.tools.shown import shown_tools
from legato.tools.turns import check_calls
from legato.validate import MAX_SAMPLES

TOKENISE_AT_ONCE = 2000
"""Characters or token ids that take less time than a change of threads beside a busy engine."""


async def chat_request(service: Service, body: ChatRequest, use: ToolUse = NO_TOOLS) -> Request:
    """The request that continues a conversation, in which the model may `use` functions.

    Renders and tokenises off the event loop.
    """

    def rendered() -> tuple[int, ...]:
        return chat_ids(service, list(map(turn_of, body.messages)), "messages", use)

    prompt = await asyncio.to_thread(rendered)
    request = _request(service, body, prompt, "messages", await _constraint(service, body, use))
    return await _with_compute(service, body, request, service.template)


async def response_request(
    service: Service, body: ResponseRequest, use: ToolUse = NO_TOOLS
) -> Request:
    """The request that answers `input`, under its instructions."""

    def rendered() -> tuple[int, ...]:
        turns = turns_of(body.input)
        if body.instructions is not None:
            turns.insert(0, {"role": "system", "content": body.instructions})
        return chat_ids(service, turns, "input", use)

    prompt = await asyncio.to_thread(rendered)
    request = _request(service, body, prompt, "input", await _constraint(service, body, use))
    return await _with_compute(service, body, request, service.template)


async def completion_requests(service: Service, body: CompletionRequest) -> list[Request]:
    """One request per prompt. Tokenises off the event loop, unless that is done at once."""
    if len(body.prompt) * body.wanted_samples > MAX_SAMPLES:
        raise bad_request(f"prompts times n may be at most {MAX_SAMPLES} choices", "n")

    def tokenised() -> list[tuple[int, ...]]:
        return [prompt_ids(service, item, "prompt", service.max_context) for item in body.prompt]

    is_short = sum(map(len, body.prompt)) <= TOKENISE_AT_ONCE
    prompts = tokenised() if is_short else await asyncio.to_thread(tokenised)
    constraint = await _constraint(service, body)
    requests = [_request(service, body, prompt, "prompt", constraint) for prompt in prompts]
    return [await _with_compute(service, body, request, None) for request in requests]


async def _with_compute(
    service: Service, body: CallRequest, request: Request, template: Renderer | None
) -> Request:
    """`request`, deciding about its samples where that was asked for. Renders off the event loop.

    `template` asks what the model thinks of a sample; None asks in plain text.
    """
    if body.legato.compute is None:
        return request
    per_hour = None if service.price is None else service.price.total_per_hour
    make = partial(
        make_compute,
        body.legato.compute.settings(),
        service.tokenizer,
        request.params,
        template=template,
        price_per_hour=per_hour,
    )
    try:
        return replace(request, compute=await asyncio.to_thread(make))
    except InvalidRequestError as error:
        is_own = (error.param or "").startswith("compute")
        prefix = "legato." if is_own else ""
        raise bad_request(f"{prefix}{error}", f"{prefix}{error.param}") from None


async def _constraint(
    service: Service, body: GenerationRequest | ResponseRequest, use: ToolUse = NO_TOOLS
) -> Constraint | None:
    """What the answer may be; compiled off the event loop."""
    form = body.output_form
    if use.functions:
        return await tool_constraint(service, use, form)
    return None if form is None else await service.grammars.compiled(form)


def turn_of(message: Message) -> dict[str, Any]:
    """A message as the template takes it."""
    turn: dict[str, Any] = {"role": _role(message.role), "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def chat_ids(
    service: Service, turns: Sequence[Mapping[str, Any]], field: str, use: ToolUse = NO_TOOLS
) -> tuple[int, ...]:
    """The token ids that ask for the next turn; what is wrong with `turns` is named `field`."""
    if service.template is None:
        raise bad_request("this model has no chat template; use /v1/completions", field)
    try:
        check_calls(turns, adjacent=field == "messages")
        shown, tools = shown_tools(service.tools, turns, use)
        prompt = chat_prompt(service.tokenizer, service.template, shown, service.max_context, tools)
    except InvalidRequestError as error:
        at_fault = error.param or ""
        param = at_fault if at_fault.startswith(f"{field}[") else field
        raise bad_request(str(error), param, error.code) from None
    return prompt.token_ids


def prompt_ids(service: Service, item: PromptItem, field: str, limit: int) -> tuple[int, ...]:
    """The token ids of a prompt in `field`; a text that surely has `limit` is refused unread."""
    if not isinstance(item, str):
        check_ids(field, item, service.tokenizer.vocab_size)
        return item
    try:
        return text_prompt(service.tokenizer, item, limit).token_ids
    except InvalidRequestError as error:
        raise bad_request(str(error), field, error.code) from None


def _request(
    service: Service,
    body: CallRequest,
    prompt: tuple[int, ...],
    field: str,
    constraint: Constraint | None = None,
) -> Request:
    room = service.max_context - len(prompt)
    if room < 1:
        raise bad_request(
            f"the prompt has {len(prompt)} tokens; with at least one token of output it must fit "
            f"the context of {service.max_context}",
            field,
            "context_length_exceeded",
        )
    return Request(
        id=uuid4().hex,
        prompt=prompt,
        params=sampling_params(body, service.tokenizer.vocab_size, room),
        priority=body.priority,
        cache_salt=body.cache_salt or "",
        constraint=constraint,
        objectives=body.legato.objectives,
        draft_tokens=body.legato.draft_tokens,
    )


def sampling_params(body: CallRequest, vocab_size: int, room: int) -> SamplingParams:
    """How to sample. The output is capped to the `room` that the prompt leaves in the context."""
    check_ids("logit_bias", body.logit_bias, vocab_size)
    check_ids("stop_token_ids", body.stop_token_ids, vocab_size)
    wanted = room if body.wanted_tokens is None else min(body.wanted_tokens, room)
    if body.min_tokens > wanted:
        raise bad_request(f"min_tokens is larger than the {wanted} tokens of room", "min_tokens")
    return SamplingParams(
        temperature=body.temperature,
        top_k=min(max(body.top_k, 0), vocab_size),
        top_p=body.top_p,
        min_p=body.min_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        logit_bias=body.logit_bias,
        seed=body.seed,
        max_tokens=wanted,
        min_tokens=body.min_tokens,
        stop_token_ids=body.stop_token_ids,
        ignore_eos=body.ignore_eos,
        stop=body.stop,
        logprobs=body.wanted_logprobs,
        n=body.wanted_samples,
    )


def check_ids(field: str, ids: Sequence[int] | dict[int, float], vocab_size: int) -> None:
    """ApiError 400 names a token id in `field` that the model does not have."""
    largest = max(ids, default=0)
    if largest >= vocab_size:
        raise bad_request(
            f"token id out of range: {largest} is not among this model's 0 to {vocab_size - 1}",
            field,
        )
