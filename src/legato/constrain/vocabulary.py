"""A model's vocabulary as llguidance wants it: the exact bytes of every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llguidance import LLTokenizer

_MARKER = "\n"
"""Goes before a text whose own beginning must not get the space that some tokenizers put there."""


class TokenizerLike(Protocol):
    """What is needed of `legato.text.tokenizer.Tokenizer`."""

    vocab_size: int
    special_ids: frozenset[int]
    eos_ids: frozenset[int]
    strips_space: bool

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes of a token."""
        ...

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Token ids of a text."""
        ...


class VocabularyView:
    """The object that llguidance reads a vocabulary from.

    Control tokens are marked as special: no text matches them. Where a grammar forces a text,
    calling this gives the tokens that the model would see for it.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: TokenizerLike) -> None:
        self._tokenizer = tokenizer
        self.tokens: Sequence[bytes] = [
            tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)
        ]
        self.special_token_ids = sorted(tokenizer.special_ids | tokenizer.eos_ids)
        self.eos_token_id = min(tokenizer.eos_ids)
        self._head = self._encode(_MARKER) if tokenizer.strips_space else []
        self._ids = {
            data: i for i, data in enumerate(self.tokens) if data and i not in tokenizer.special_ids
        }
        self._longest = max(map(len, self._ids), default=1)

    def __call__(self, text: str | bytes) -> list[int]:
        """Token ids whose bytes are exactly `text`. Never raises: Rust calls it."""
        data = text.encode() if isinstance(text, str) else bytes(text)
        try:
            ids = self._encoded(data.decode())
        except Exception:  # whatever the tokenizer cannot take is spelled out
            ids = []
        if b"".join([self.tokens[i] for i in ids]) == data:
            return ids
        return self._spelled(data)

    def _encoded(self, text: str) -> list[int]:
        if not self._head:
            return self._encode(text)
        ids = self._encode(_MARKER + text)
        size = len(self._head)
        return ids[size:] if ids[:size] == self._head else []

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, parse_special=False)

    def _spelled(self, data: bytes) -> list[int]:
        """The longest token that fits, again and again; stops where none does."""
        ids, start = [], 0
        while start < len(data):
            for end in range(min(len(data), start + self._longest), start, -1):
                if data[start:end] in self._ids:
                    ids.append(self._ids[data[start:end]])
                    start = end
                    break
            else:
                break
        return ids


def make_vocabulary(tokenizer: TokenizerLike) -> LLTokenizer:
    """llguidance's view of `tokenizer`; takes seconds for a quarter of a million tokens."""
    view = VocabularyView(tokenizer)
    return LLTokenizer(
        view,  # type: ignore[arg-type]  # it asks for these attributes, not for its class
        n_vocab=tokenizer.vocab_size,
        eos_token=sorted(tokenizer.eos_ids),
    )
