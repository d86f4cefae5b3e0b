"""What every tokenizer source is reduced to: an encoder, the bytes of each token, and the roles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer as RustTokenizer

TURN_ENDS = frozenset(
    {
        "<|im_end|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|return|>",
        "<end_of_turn>",
        "<eos>",
        "</s>",
        "<EOT>",
        "<|EOT|>",
        "<｜end▁of▁sentence｜>",
    }
)
"""Texts of special tokens that end a turn, whatever a file's metadata says about them."""

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = tuple(byte for byte in range(0x100) if byte not in _PRINTABLE)
BYTE_OF_CHAR = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(0x100 + index): byte for index, byte in enumerate(_OTHERS)
}
"""GPT-2's alphabet of byte-level BPE: printable Latin-1 stands for itself, the rest from U+0100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A tokenizer's parts, the same for every source.

    Attributes:
        encoder: the Rust tokenizer; knows the special tokens and the post-processor.
        texts: the text of each token id as its file writes it; "" for an id without a token.
        piece: the exact bytes that a token id stands for; literal text for special tokens.
        special_ids: control tokens: skipped in decoded text, not matched in untrusted text.
        bos_id: token that begins a sequence, if the model has one.
        eos_id: token that the model's own settings name as the end, if any.
        eos_ids: tokens that end a turn.
        adds_bos: `encode` puts `bos_id` first.
        strips_space: decoding a whole text drops one leading space that encoding put there.
        chat_template: Jinja source that came with the model.
    """

    encoder: RustTokenizer
    texts: Sequence[str]
    piece: Callable[[int], bytes]
    special_ids: frozenset[int]
    bos_id: int | None
    eos_id: int | None
    eos_ids: frozenset[int]
    adds_bos: bool
    strips_space: bool
    chat_template: str | None


def byte_level_piece(text: str) -> bytes:
    """Bytes of a token written in the byte-level alphabet; UTF-8 of it if it is not."""
    try:
        return bytes([BYTE_OF_CHAR[char] for char in text])
    except KeyError:
        return text.encode()


def turn_ends(
    texts: Sequence[str], special_ids: Iterable[int], declared: Iterable[int]
) -> frozenset[int]:
    """Ids that end a turn: those the model declares and the special tokens known to."""
    return frozenset(declared) | {i for i in special_ids if texts[i] in TURN_ENDS}
