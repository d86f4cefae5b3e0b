"""What a request may ask for: one definition of every range, for all entry points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Never, TypeGuard

from legato.core import Objectives, Request, SamplingParams
from legato.errors import CapacityError, InvalidRequestError

MAX_SAMPLES = 128
MAX_LOGPROBS = 20
MAX_STOPS = 4
MAX_STOP_LENGTH = 1024
MAX_STOP_TOKENS = 64
MAX_BIASES = 1024
MAX_BIAS = 100.0
MAX_SALT_LENGTH = 256
INT32 = 2**31 - 1
MAX_DRAFT = 32
MAX_OBJECTIVE_NS = 86_400 * 10**9
"""A day: later deadlines say nothing."""

RANGES: Mapping[str, tuple[float, float]] = {
    "n": (1, MAX_SAMPLES),
    "max_tokens": (1, INT32),
    "min_tokens": (0, INT32),
    "temperature": (0, 2),
    "top_k": (0, INT32),
    "top_p": (0, 1),  # 0 itself keeps no token, and is refused
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (0.01, 10),
    "seed": (0, 2**64 - 1),
    "logprobs": (0, MAX_LOGPROBS),
    "priority": (-INT32, INT32),
}
"""Least and most value of every numeric field of a request, both allowed."""


def check_request(request: Request, vocab_size: int) -> None:
    """Raise InvalidRequestError naming the field of `request` that cannot be honoured."""
    check_token_ids(request.prompt, vocab_size, "prompt")
    _check_integer("priority", request.priority)
    _check_text("cache_salt", request.cache_salt, MAX_SALT_LENGTH)
    _check_objectives(request.objectives)
    if request.draft_tokens is not None:
        _check_integer("draft_tokens", request.draft_tokens, (0, MAX_DRAFT))
    check_params(request.params, vocab_size)
    if request.compute is not None and request.params.n != 1:
        _refuse("n", request.params.n, "1 where compute decides how many samples are drawn")
    if request.constraint is not None and request.params.ignore_eos:
        _refuse("ignore_eos", True, "false where the form of the output is prescribed")


def check_context(request: Request, max_context: int, pool_context: int) -> None:
    """Raise where `request` has no room for its output.

    Args:
        max_context: most tokens of prompt and output.
        pool_context: the same, as far as the KV pool holds them; at most `max_context`.

    Raises:
        InvalidRequestError: the prompt is too long for the context, or min_tokens for the rest.
        CapacityError: the prompt can never fit into the KV pool.
    """
    length, least = len(request.prompt), request.params.min_tokens
    if length >= max_context:
        raise InvalidRequestError(
            f"the prompt has {length} tokens; with at least one token of output it must fit the "
            f"context of {max_context}",
            "prompt",
            "context_length_exceeded",
        )
    if length >= pool_context:
        raise CapacityError(
            f"the prompt has {length} tokens, but the KV pool holds sequences of at most "
            f"{pool_context}; raise kv_memory or num_kv_blocks"
        )
    if least > pool_context - length:
        _refuse("min_tokens", least, f"at most the {pool_context - length} tokens of room")


def check_token_ids(token_ids: Sequence[object], vocab_size: int, name: str) -> None:
    """Raise InvalidRequestError unless `token_ids` are at least one id of the vocabulary."""
    if not len(token_ids):
        raise InvalidRequestError(f"{name} has no tokens; it needs at least one", name)
    for index, token in enumerate(token_ids):
        if not _is_integer(token) or not 0 <= token < vocab_size:
            raise InvalidRequestError(
                f"token id out of range: {name}[{index}] is {_shown(token)}; this model has the "
                f"ids 0 to {vocab_size - 1}",
                name,
            )


def check_params(params: SamplingParams, vocab_size: int) -> None:
    """Raise InvalidRequestError naming the field of `params` that is out of range.

    `vocab_size` is the width of the logits. Values must be finite numbers; true and "10" are not.
    """
    _check_counts(params)
    _check_integer("top_k", params.top_k)
    _check_number("temperature", params.temperature)
    _check_number("min_p", params.min_p)
    _check_number("top_p", params.top_p)
    if params.top_p == 0:
        _refuse("top_p", params.top_p, "a number above 0 and at most 1")
    _check_number("presence_penalty", params.presence_penalty)
    _check_number("frequency_penalty", params.frequency_penalty)
    _check_number("repetition_penalty", params.repetition_penalty)
    if params.seed is not None:
        _check_integer("seed", params.seed)
    if params.logprobs is not None:
        _check_integer("logprobs", params.logprobs, (0, min(MAX_LOGPROBS, vocab_size)))
    if not isinstance(params.ignore_eos, bool):
        _refuse("ignore_eos", params.ignore_eos, "true or false")
    _check_bias(params.logit_bias, vocab_size)
    _check_stops(params, vocab_size)


def _check_objectives(objectives: Objectives) -> None:
    for name in ("ttft_ns", "tbt_ns"):
        value = getattr(objectives, name)
        if value is not None:
            _check_integer(name, value, (1, MAX_OBJECTIVE_NS))


def _check_counts(params: SamplingParams) -> None:
    _check_integer("n", params.n)
    _check_integer("min_tokens", params.min_tokens)
    if params.max_tokens is None:
        return
    _check_integer("max_tokens", params.max_tokens)
    if params.min_tokens > params.max_tokens:
        _refuse("min_tokens", params.min_tokens, f"at most max_tokens, {params.max_tokens}")


def _check_bias(bias: object, vocab_size: int) -> None:
    if not isinstance(bias, Mapping):
        _refuse("logit_bias", bias, "a mapping of token ids to numbers")
    if len(bias) > MAX_BIASES:
        _refuse_size("logit_bias", f"{len(bias)} entries", MAX_BIASES)
    for token, value in bias.items():
        _check_integer("logit_bias", token, (0, vocab_size - 1))
        _check_number("logit_bias", value, (-MAX_BIAS, MAX_BIAS))


def _check_stops(params: SamplingParams, vocab_size: int) -> None:
    _check_length("stop", params.stop, MAX_STOPS)
    for text in params.stop:
        _check_text("stop", text, MAX_STOP_LENGTH)
        if not text:
            _refuse("stop", text, "strings that are not empty")
    _check_length("stop_token_ids", params.stop_token_ids, MAX_STOP_TOKENS)
    for token in params.stop_token_ids:
        _check_integer("stop_token_ids", token, (0, vocab_size - 1))


def _check_length(name: str, values: object, longest: int) -> None:
    if not isinstance(values, list | tuple):
        _refuse(name, values, "a list")
    if len(values) > longest:
        _refuse_size(name, f"{len(values)} entries", longest)


def _check_text(name: str, value: object, longest: int) -> None:
    if not isinstance(value, str):
        _refuse(name, value, "a text")
    if len(value) > longest:
        _refuse_size(name, f"{len(value)} characters", longest)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{name} has a lone surrogate", name) from None


def _check_integer(name: str, value: object, allowed: tuple[float, float] | None = None) -> None:
    least, most = allowed or RANGES[name]
    if not _is_integer(value) or not least <= value <= most:
        _refuse(name, value, f"an integer from {least} to {most}")


def _check_number(name: str, value: object, allowed: tuple[float, float] | None = None) -> None:
    least, most = allowed or RANGES[name]
    if not _is_number(value) or not least <= value <= most:  # a NaN fails the comparison
        _refuse(name, value, f"a finite number from {least:g} to {most:g}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_integer(value: object) -> TypeGuard[int]:
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def _refuse(name: str, value: object, expected: str) -> Never:
    raise InvalidRequestError(f"{name} is {_shown(value)}, expected {expected}", name)


def _refuse_size(name: str, size: str, most: int) -> Never:
    raise InvalidRequestError(f"{name} has {size}, at most {most} are allowed", name)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
