"""The tokenizer of a model folder: tokenizer.json and the settings beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from legato.errors import ModelFormatError
from legato.text.gguf_fields import TokenType
from legato.text.sentencepiece import sentencepiece_piece
from legato.text.vocabulary import Vocabulary, byte_level_piece, turn_ends

_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")


def read_folder_vocabulary(folder: Path) -> Vocabulary:
    """The tokenizer in `folder`. ModelFormatError names the file at fault."""
    settings = _Settings.read(folder)
    encoder = _read_encoder(folder / "tokenizer.json")
    _mark_special(encoder, settings)
    texts = _texts(encoder)
    decoding = _Decoding.of(encoder, folder)
    added = encoder.get_added_tokens_decoder()
    special = frozenset(i for i, token in added.items() if token.special)
    bos_id = settings.bos_id(encoder)
    return Vocabulary(
        encoder=encoder,
        texts=texts,
        piece=lambda i: texts[i].encode() if i in added else decoding.piece(texts[i]),
        special_ids=special,
        bos_id=bos_id,
        eos_id=settings.eos_id(encoder),
        eos_ids=turn_ends(texts, special, settings.eos_ids(encoder)),
        adds_bos=bos_id is not None and encoder.encode("").ids[:1] == [bos_id],
        strips_space=decoding.strips_space,
        chat_template=settings.chat_template(),
    )


def _read_encoder(path: Path) -> RustTokenizer:
    if not path.is_file():
        raise ModelFormatError(f"{path.parent} has no tokenizer.json; Legato needs one there")
    try:
        return RustTokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ModelFormatError(f"{path} is not a tokenizer: {error}") from error


def _mark_special(encoder: RustTokenizer, settings: _Settings) -> None:
    """Tokens with a role are special even where tokenizer.json does not flag them."""
    flagged = {t.content for t in encoder.get_added_tokens_decoder().values() if t.special}
    roles = [text for text in settings.role_texts() if encoder.token_to_id(text) is not None]
    encoder.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text in roles if text not in flagged]
    )


def _texts(encoder: RustTokenizer) -> list[str]:
    vocab = encoder.get_vocab(with_added_tokens=True)
    texts = [""] * (max(vocab.values(), default=-1) + 1)
    for text, i in vocab.items():
        texts[i] = text
    return texts


@dataclass(frozen=True, slots=True)
class _Decoding:
    """How token texts become bytes."""

    byte_level: bool
    byte_fallback: bool
    strips_space: bool

    @classmethod
    def of(cls, encoder: RustTokenizer, folder: Path) -> _Decoding:
        steps = (
            list(_flatten(json.loads(encoder.decoder.__getstate__()))) if encoder.decoder else []
        )
        names = {step["type"] for step in steps}
        if not names & {"ByteLevel", "Metaspace", "Replace"}:
            raise ModelFormatError(
                f"{folder / 'tokenizer.json'}: the decoder {sorted(names)} is neither byte-level "
                "nor SentencePiece, the two kinds that Legato reads"
            )
        return cls("ByteLevel" in names, "ByteFallback" in names, any(map(_strips_space, steps)))

    def piece(self, text: str) -> bytes:
        if self.byte_level:
            return byte_level_piece(text)
        is_byte = self.byte_fallback and _BYTE_TOKEN.fullmatch(text)
        return sentencepiece_piece(text, TokenType.BYTE if is_byte else TokenType.NORMAL)


def _flatten(decoder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if decoder["type"] == "Sequence":
        for step in decoder["decoders"]:
            yield from _flatten(step)
    else:
        yield decoder


def _strips_space(step: Mapping[str, Any]) -> bool:
    if step["type"] == "Metaspace":
        return bool(step.get("prepend_scheme", "always") != "never")
    return bool(step["type"] == "Strip" and step.get("content") == " " and step.get("start", 0) > 0)


@dataclass(frozen=True, slots=True)
class _Settings:
    """The JSON files beside tokenizer.json; empty where absent."""

    folder: Path
    tokenizer: Mapping[str, Any]
    generation: Mapping[str, Any]
    model: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> _Settings:
        names = ("tokenizer_config.json", "generation_config.json", "config.json")
        return cls(folder, *(_read_object(folder / name) for name in names))

    def role_texts(self) -> list[str]:
        """Texts of the tokens that tokenizer_config.json gives a role."""
        values = (self._role(name) for name in _SPECIAL_NAMES)
        return [text for text in values if text is not None]

    def bos_id(self, encoder: RustTokenizer) -> int | None:
        if "bos_token" in self.tokenizer:
            text = self._role("bos_token")
            return None if text is None else encoder.token_to_id(text)
        return next(iter(self._ids("bos_token_id")), None)

    def eos_id(self, encoder: RustTokenizer) -> int | None:
        text = self._role("eos_token")
        named = None if text is None else encoder.token_to_id(text)
        return next(iter(self._ids("eos_token_id")), None) if named is None else named

    def eos_ids(self, encoder: RustTokenizer) -> set[int]:
        named = self.eos_id(encoder)
        return set(self._ids("eos_token_id")) | ({named} if named is not None else set())

    def chat_template(self) -> str | None:
        file = self.folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8")
        template = self.tokenizer.get("chat_template")
        if isinstance(template, list):
            named = {entry.get("name"): entry.get("template") for entry in template}
            template = named.get("default")
        if template is not None and not isinstance(template, str):
            raise ModelFormatError(f"{self.folder}: chat_template is neither a string nor a list")
        return template

    def _role(self, name: str) -> str | None:
        value = self.tokenizer.get(name)
        return value.get("content") if isinstance(value, dict) else value

    def _ids(self, name: str) -> Iterable[int]:
        for source in (self.generation, self.model, self.model.get("text_config") or {}):
            value = source.get(name)
            values = value if isinstance(value, list) else [value]
            yield from (i for i in values if isinstance(i, int))


def _read_object(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} is not a JSON object")
    return value
