"""From a validated body to what the engine is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from legato.core import Request, SamplingParams
from legato.server.errors import bad_request
from legato.server.fields import PromptItem
from legato.server.protocol import ChatRequest, CompletionRequest, GenerationRequest, Message
from legato.server.service import Service
from legato.text.prompt import Prompt, chat_prompt, text_prompt


async def chat_request(service: Service, body: ChatRequest) -> Request:
    """The request that continues a conversation. Renders and tokenises off the event loop."""
    prompt = await asyncio.to_thread(_chat_prompt, service, body.messages)
    return _request(service, body, prompt.token_ids, "messages")


async def completion_requests(service: Service, body: CompletionRequest) -> list[Request]:
    """One request per prompt. Tokenises off the event loop."""
    prompts = await asyncio.to_thread(lambda: [_prompt_ids(service, item) for item in body.prompt])
    return [_request(service, body, prompt, "prompt") for prompt in prompts]


def _chat_prompt(service: Service, messages: Sequence[Message]) -> Prompt:
    if service.template is None:
        raise bad_request("this model has no chat template; use /v1/completions", "messages")
    turns = [{"role": _role(message), "content": message.content} for message in messages]
    return chat_prompt(service.tokenizer, service.template, turns, service.max_context)


def _role(message: Message) -> str:
    return "system" if message.role == "developer" else message.role


def _prompt_ids(service: Service, item: PromptItem) -> tuple[int, ...]:
    if isinstance(item, str):
        return text_prompt(service.tokenizer, item, service.max_context).token_ids
    _check_ids("prompt", item, service.tokenizer.vocab_size)
    return item


def _request(
    service: Service, body: GenerationRequest, prompt: tuple[int, ...], field: str
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
    )


def sampling_params(body: GenerationRequest, vocab_size: int, room: int) -> SamplingParams:
    """How to sample. The output is capped to the `room` that the prompt leaves in the context."""
    _check_ids("logit_bias", body.logit_bias, vocab_size)
    _check_ids("stop_token_ids", body.stop_token_ids, vocab_size)
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
        n=body.n,
    )


def _check_ids(field: str, ids: Sequence[int] | dict[int, float], vocab_size: int) -> None:
    largest = max(ids, default=0)
    if largest >= vocab_size:
        raise bad_request(
            f"token id out of range: {largest} is not among this model's 0 to {vocab_size - 1}",
            field,
        )
