"""The vocabulary inside a GGUF file: ``tokenizer.*`` metadata to a `Vocabulary`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.processors import TemplateProcessing

from legato.errors import ModelFormatError
from legato.text.byte_bpe import byte_bpe, pre_tokenizer_named
from legato.text.gguf_fields import TokenizerFields, TokenType
from legato.text.sentencepiece import is_space_run, sentencepiece_bpe, sentencepiece_piece
from legato.text.vocabulary import Vocabulary, byte_level_piece, turn_ends

_SPECIAL = frozenset({TokenType.CONTROL, TokenType.UNKNOWN})
_LITERAL = _SPECIAL | {TokenType.USER_DEFINED}


def read_gguf_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary:
    """The tokenizer that a GGUF file's metadata describes.

    Raises:
        ModelFormatError: naming the key that is missing, of the wrong type or not supported.
    """
    fields = TokenizerFields.read(metadata)
    readers: dict[str, Callable[[TokenizerFields], Vocabulary]] = {
        "gpt2": _read_byte_level,
        "llama": _read_sentencepiece,
    }
    if fields.model not in readers:
        raise ModelFormatError(
            f"tokenizer.ggml.model is {fields.model!r}, which Legato does not read; "
            f"it reads {' and '.join(map(repr, readers))}"
        )
    return readers[fields.model](fields)


def _read_byte_level(fields: TokenizerFields) -> Vocabulary:
    pre = pre_tokenizer_named(fields.pre)
    added = {i for i, kind in enumerate(fields.types) if kind in _LITERAL}

    def piece(i: int) -> bytes:
        return fields.tokens[i].encode() if i in added else byte_level_piece(fields.tokens[i])

    encoder = byte_bpe(fields.token_ids(), fields.merges(), pre)
    return _assemble(fields, encoder, piece, sorted(added), adds_bos=pre.adds_bos)


def _read_sentencepiece(fields: TokenizerFields) -> Vocabulary:
    def piece(i: int) -> bytes:
        return sentencepiece_piece(fields.tokens[i], fields.types[i])

    added = [
        i
        for i, kind in enumerate(fields.types)
        if kind in _LITERAL and not is_space_run(fields.tokens[i], kind)
    ]
    return _assemble(fields, sentencepiece_bpe(fields), piece, added, adds_bos=True)


def _assemble(
    fields: TokenizerFields,
    encoder: RustTokenizer,
    piece: Callable[[int], bytes],
    added: Sequence[int],
    *,
    adds_bos: bool,
) -> Vocabulary:
    special = frozenset(i for i, kind in enumerate(fields.types) if kind in _SPECIAL)
    encoder.add_tokens(
        [AddedToken(fields.tokens[i], normalized=False, special=i in special) for i in added]
    )
    bos_id = fields.token_id("bos_token_id")
    begins = bos_id is not None and fields.flag("add_bos_token", adds_bos)
    _surround(encoder, fields, bos_id if begins else None, fields.flag("add_eos_token", False))
    declared = [fields.token_id(f"{name}_token_id") for name in ("eos", "eot", "eom")]
    return Vocabulary(
        encoder=encoder,
        texts=fields.tokens,
        piece=piece,
        special_ids=special,
        bos_id=bos_id,
        eos_id=fields.token_id("eos_token_id"),
        eos_ids=turn_ends(fields.tokens, special, [i for i in declared if i is not None]),
        adds_bos=begins,
        strips_space=fields.prefixes_space,
        chat_template=fields.chat_template,
    )


def _surround(
    encoder: RustTokenizer, fields: TokenizerFields, bos_id: int | None, adds_eos: bool
) -> None:
    """Make `encoder` put BOS before and EOS after every text, where asked to."""
    eos_id = fields.token_id("eos_token_id") if adds_eos else None
    before = [] if bos_id is None else [fields.tokens[bos_id]]
    after = [] if eos_id is None else [fields.tokens[eos_id]]
    if before or after:
        encoder.post_processor = TemplateProcessing(
            single=[*before, "$A", *after],
            special_tokens=[(fields.tokens[i], i) for i in {bos_id, eos_id} if i is not None],
        )
