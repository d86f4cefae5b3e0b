"""Log-probabilities in OpenAI's two formats. Natural logarithms of the model's distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from legato.completion import LogprobEntry, TokenText

LEAST = -9999.0  # OpenAI's stand-in for minus infinity, which JSON cannot say


def chat_logprobs(entries: Sequence[LogprobEntry]) -> dict[str, Any]:
    """The `logprobs` object of a chat choice."""
    content = [
        {**_token(entry.chosen), "top_logprobs": [_token(other) for other in entry.top]}
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def _token(token: TokenText) -> dict[str, Any]:
    return {"token": token.text, "logprob": _finite(token), "bytes": list(token.data)}


def completion_logprobs(entries: Sequence[LogprobEntry]) -> dict[str, Any]:
    """The `logprobs` object of a completions choice; offsets in characters of its text."""
    return {
        "tokens": [entry.chosen.text for entry in entries],
        "token_logprobs": [_finite(entry.chosen) for entry in entries],
        "top_logprobs": [_alternatives(entry) for entry in entries],
        "text_offset": [entry.offset for entry in entries],
    }


def _alternatives(entry: LogprobEntry) -> dict[str, float]:
    """The likeliest tokens and the chosen one by their text; of equal texts the likelier."""
    if not entry.top:
        return {}
    return {token.text: _finite(token) for token in (entry.chosen, *reversed(entry.top))}


def _finite(token: TokenText) -> float:
    return max(token.logprob, LEAST)
