"""The prompt that a completion begins with when `echo` is asked for, with log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from legato.completion import LogprobEntry, SampleText
from legato.core import FinishReason, SamplingParams, Tenant, TokenEvent, TokenLogprobs
from legato.server.fields import PromptItem
from legato.server.openai_logprobs import completion_logprobs
from legato.server.service import Service


@dataclass(frozen=True, slots=True)
class Echo:
    """The text before an answer, and the `logprobs` lists of its tokens, where asked for, with the
    machine time that they took."""

    text: str = ""
    logprobs: dict[str, list[Any]] | None = None
    machine_ns: int = 0

    def before(self, entries: Sequence[LogprobEntry]) -> dict[str, list[Any]]:
        """The `logprobs` object of the prompt's tokens and then `entries`."""
        own = completion_logprobs(entries)
        own["text_offset"] = [offset + len(self.text) for offset in own["text_offset"]]
        if self.logprobs is None:
            return own
        return {key: [*self.logprobs[key], *values] for key, values in own.items()}


async def echo_of(
    service: Service,
    item: PromptItem,
    token_ids: tuple[int, ...],
    count: int | None,
    tenant: Tenant,
) -> Echo:
    """The echo of a prompt; `count` alternatives per token, None for no log-probabilities."""
    text = item if isinstance(item, str) else service.tokenizer.decode(item)
    if count is None:
        return Echo(text)
    scored = await service.source.score(token_ids, count, tenant)
    entries = _entries(service, token_ids, scored.value)
    return Echo(text, _without_first(completion_logprobs(entries)), scored.machine_ns)


def _entries(
    service: Service, token_ids: tuple[int, ...], scores: Sequence[TokenLogprobs]
) -> list[LogprobEntry]:
    """One entry a token; the first token's values stand in, as nothing is before it."""
    sample = SampleText(service.tokenizer, SamplingParams(), continues=False)
    entries: list[LogprobEntry] = []
    for place, logprobs in enumerate((TokenLogprobs(0.0, ()), *scores)):
        event = TokenEvent(
            request_id="",
            index=0,
            token_id=token_ids[place],
            time_ns=0,
            logprobs=logprobs,
            finish_reason=FinishReason.LENGTH if place == len(scores) else None,
        )
        entries += sample.push(event).logprobs
    return entries


def _without_first(lists: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """OpenAI's null where there is no probability: nothing comes before the first token."""
    lists["token_logprobs"][0] = None
    lists["top_logprobs"][0] = None
    return lists
