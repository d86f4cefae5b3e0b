"""SentencePiece BPE with scores and byte fallback, as merges of a BPE model.

SentencePiece (Kudo and Richardson 2018) merges the adjacent pair whose joined piece has the best
score. So every split of a piece into two pieces is a merge, ranked by the score of the whole.
"""

from __future__ import annotations

import re
from math import inf
from operator import itemgetter

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import normalizers
from tokenizers.models import BPE

from legato.errors import ModelFormatError
from legato.text.gguf_fields import TokenizerFields, TokenType

SPACE = "▁"
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_MERGED = frozenset({TokenType.NORMAL, TokenType.USER_DEFINED})


def sentencepiece_piece(text: str, kind: int) -> bytes:
    """The bytes of a token: a byte token's byte, else its text with U+2581 read as a space."""
    if kind == TokenType.BYTE:
        return bytes.fromhex(text[3:5])
    return text.replace(SPACE, " ").encode()


def is_space_run(text: str, kind: int) -> bool:
    """A user-defined token of spaces only, which is merged from spaces like an ordinary one."""
    return kind == TokenType.USER_DEFINED and not text.strip(" " + SPACE)


def sentencepiece_bpe(fields: TokenizerFields) -> RustTokenizer:
    """An encoder for a vocabulary with scores; control tokens are added by the caller.

    User-defined runs of spaces (Gemma) are merges too, before all others, so that ids equal
    those of transformers. llama.cpp takes the longest run first instead, as SentencePiece does
    with user-defined symbols: the two differ only where more than 31 spaces follow each other
    (32 are 16 + 16 here, 31 + 1 there) and where U+2581 itself is in the text.
    """
    _check_byte_tokens(fields)
    vocab = {text: i for i, text in enumerate(fields.tokens)}
    runs = [i for i, kind in enumerate(fields.types) if is_space_run(fields.tokens[i], kind)]
    vocab |= {fields.tokens[i].replace(" ", SPACE): i for i in runs}
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
        (score, text) if kind == TokenType.NORMAL else (inf, text.replace(" ", SPACE))
        for text, kind, score in zip(fields.tokens, fields.types, fields.scores(), strict=True)
        if kind in _MERGED
    ]
    scored.sort(key=itemgetter(0), reverse=True)
    return [text for _, text in scored]


def _check_byte_tokens(fields: TokenizerFields) -> None:
    for text, kind in zip(fields.tokens, fields.types, strict=True):
        if kind == TokenType.BYTE and not _BYTE_TOKEN.fullmatch(text):
            raise ModelFormatError(f"byte token {text!r} is not of the form <0xHH>")
