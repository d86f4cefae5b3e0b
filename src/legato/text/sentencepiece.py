"""SentencePiece BPE with scores and byte fallback, as merges of a BPE model.

SentencePiece (Kudo and Richardson 2018) merges the adjacent pair whose joined piece has the best
score. So every split of a piece into two pieces is a merge, ranked by the score of the whole.
"""

from __future__ import annotations

from math import inf

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import normalizers
from tokenizers.models import BPE

from legato.errors import ModelFormatError
from legato.text.gguf_fields import TokenizerFields, TokenType

SPACE = "▁"
_MERGED = frozenset({TokenType.NORMAL, TokenType.USER_DEFINED})


def sentencepiece_piece(text: str, kind: int) -> bytes:
    """The bytes of a token: a byte token's byte, else its text with U+2581 read as a space."""
    if kind == TokenType.BYTE:
        return _byte_value(text)
    return text.replace(SPACE, " ").encode()


def sentencepiece_bpe(fields: TokenizerFields) -> RustTokenizer:
    """An encoder for a vocabulary with scores; control tokens are added by the caller.

    User-defined runs of spaces are merges too, before all others, as in the tokenizer.json of
    the models that have them (Gemma).
    """
    vocab = {
        text.replace(" ", SPACE) if kind == TokenType.USER_DEFINED and text.isspace() else text: i
        for i, (text, kind) in enumerate(zip(fields.tokens, fields.types, strict=True))
    }
    unknown = fields.token_id("unknown_token_id")
    model = BPE(
        vocab,
        _merges(fields),
        unk_token=None if unknown is None else fields.tokens[unknown],
        fuse_unk=True,
        byte_fallback=TokenType.BYTE in fields.types,
    )
    encoder = RustTokenizer(model)
    spaces = normalizers.Replace(" ", SPACE)
    encoder.normalizer = (
        normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
        if fields.prefixes_space
        else spaces
    )
    return encoder


def _merges(fields: TokenizerFields) -> list[tuple[str, str]]:
    """Every way to join two pieces into a third, best first; the longest left part wins ties."""
    ranked = _ranked_pieces(fields)
    known = set(ranked)
    return [
        (left, right)
        for piece in ranked
        for cut in range(len(piece) - 1, 0, -1)
        if (left := piece[:cut]) in known and (right := piece[cut:]) in known
    ]


def _ranked_pieces(fields: TokenizerFields) -> list[str]:
    scored = [
        (inf if kind == TokenType.USER_DEFINED else score, text.replace(" ", SPACE))
        for text, kind, score in zip(fields.tokens, fields.types, fields.scores(), strict=True)
        if kind in _MERGED
    ]
    scored.sort(key=lambda pair: -pair[0])
    return [text for _, text in scored]


def _byte_value(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("<0x").removesuffix(">"))
    except ValueError:
        raise ModelFormatError(f"byte token {text!r} is not of the form <0xHH>") from None
