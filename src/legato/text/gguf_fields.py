"""Checked access to the ``tokenizer.*`` keys of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from legato.errors import ModelFormatError


class TokenType(IntEnum):
    """Values of ``tokenizer.ggml.token_type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class TokenizerFields:
    """The keys that every kind of vocabulary has; the rest by method, each with its check.

    Attributes:
        metadata: keys as in the file.
        model: kind of vocabulary, "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE).
        tokens: text of each id.
        types: a `TokenType` value of each id.
    """

    metadata: Mapping[str, Any]
    model: str
    tokens: list[str]
    types: list[int]

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> TokenizerFields:
        """Check the common keys; ModelFormatError names the one at fault."""
        tokens = _strings(metadata, "tokens")
        if not tokens:
            raise ModelFormatError("tokenizer.ggml.tokens is empty; a vocabulary needs tokens")
        types = _array(metadata, "token_type", default=[TokenType.NORMAL] * len(tokens))
        _same_length("token_type", types, tokens)
        unknown = set(types) - set(TokenType)
        if unknown:
            raise ModelFormatError(
                f"tokenizer.ggml.token_type has the value {unknown.pop()!r}; known are 1 to 6"
            )
        return cls(metadata, _text(metadata, "model"), tokens, types)

    @property
    def pre(self) -> str:
        """Name of the pre-tokenizer; old files without it mean "default"."""
        return _text(self.metadata, "pre", default="default")

    @property
    def prefixes_space(self) -> bool:
        """Encoding puts a space before every text (SentencePiece's dummy prefix)."""
        return self.model == "llama" and self.flag("add_space_prefix", True)

    @property
    def chat_template(self) -> str | None:
        """Jinja source, if the file carries one."""
        template = self.metadata.get("tokenizer.chat_template")
        if template is not None and not isinstance(template, str):
            raise ModelFormatError("tokenizer.chat_template is not a string")
        return template

    def merges(self) -> list[str]:
        """Byte-pair merges, "left right", best first."""
        return _strings(self.metadata, "merges")

    def scores(self) -> list[float]:
        """SentencePiece score of each id; larger merges earlier."""
        scores = _array(self.metadata, "scores")
        _same_length("scores", scores, self.tokens)
        return scores

    def token_ids(self) -> dict[str, int]:
        """Token text → id; the first id where two have the same text."""
        return {text: i for i, text in reversed(list(enumerate(self.tokens)))}

    def flag(self, name: str, default: bool) -> bool:
        """The boolean ``tokenizer.ggml.{name}``."""
        value = self.metadata.get(f"tokenizer.ggml.{name}", default)
        if not isinstance(value, bool | int):
            raise ModelFormatError(f"tokenizer.ggml.{name} is {value!r}, not true or false")
        return bool(value)

    def token_id(self, name: str) -> int | None:
        """The id ``tokenizer.ggml.{name}``, None where absent."""
        value = self.metadata.get(f"tokenizer.ggml.{name}")
        if value is None:
            return None
        if not isinstance(value, int) or not 0 <= value < len(self.tokens):
            raise ModelFormatError(
                f"tokenizer.ggml.{name} is {value!r}, which is not one of the "
                f"{len(self.tokens)} token ids"
            )
        return value


def _array(metadata: Mapping[str, Any], name: str, default: list[Any] | None = None) -> list[Any]:
    value = metadata.get(f"tokenizer.ggml.{name}", default)
    if value is None:
        raise ModelFormatError(f"tokenizer.ggml.{name} is missing; this vocabulary needs it")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ModelFormatError(f"tokenizer.ggml.{name} is not an array")
    return list(value)


def _strings(metadata: Mapping[str, Any], name: str) -> list[str]:
    values = _array(metadata, name)
    if not all(isinstance(value, str) for value in values):
        raise ModelFormatError(f"tokenizer.ggml.{name} is not an array of strings")
    return values


def _text(metadata: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = metadata.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(value, str):
        raise ModelFormatError(
            f"tokenizer.ggml.{name} is {'missing' if value is None else 'not a string'}"
        )
    return value


def _same_length(name: str, values: Sequence[Any], tokens: Sequence[str]) -> None:
    if len(values) != len(tokens):
        raise ModelFormatError(
            f"tokenizer.ggml.{name} has {len(values)} entries for {len(tokens)} tokens"
        )
