"""The events of a sequence: a new token, and its end."""

from __future__ import annotations

from legato.core import FinishReason, TokenEvent
from legato.scheduler import policy
from legato.scheduler.batch import NO_TOKEN, Choice
from legato.scheduler.sequence import Sequence

NO_TOKEN_MESSAGE = (
    "no token could be chosen: the logits are not finite, or the request forbids every token"
)


def append_choice(sequence: Sequence, choice: Choice, time_ns: int) -> TokenEvent:
    """Let `sequence` go on with what was chosen for it at `time_ns`; what to tell of it."""
    token, logprobs = choice
    if token == NO_TOKEN:
        return end_event(sequence, time_ns, FinishReason.ERROR, sequence.fault or NO_TOKEN_MESSAGE)
    is_first = sequence.num_tokens == sequence.num_prompt
    sequence.append(token)
    sequence.score(time_ns)
    sequence.due_ns = policy.next_due_ns(sequence.due_ns, time_ns, sequence.tbt_ns)
    reason = policy.finish_reason(sequence, token)
    if sequence.matcher is not None and reason is None:
        sequence.matcher.accept(token)
    event = TokenEvent(
        request_id=sequence.request.id,
        index=sequence.index,
        token_id=token,
        time_ns=time_ns,
        logprobs=logprobs,
        finish_reason=reason,
    )
    if is_first:
        event.cached_tokens = sequence.cached_tokens or 0
        event.started_ns = sequence.started_ns
    if reason is not None:
        event.machine_ns = sequence.machine_ns
        event.drafted, event.accepted = sequence.drafted, sequence.accepted
    return event


def end_event(
    sequence: Sequence, time_ns: int, reason: FinishReason, error: str | None = None
) -> TokenEvent:
    """The last event of a sequence that ends without a token."""
    return TokenEvent(
        request_id=sequence.request.id,
        index=sequence.index,
        token_id=None,
        time_ns=time_ns,
        finish_reason=reason,
        error=error,
        machine_ns=sequence.machine_ns,
        drafted=sequence.drafted,
        accepted=sequence.accepted,
    )
