"""Each pre-tokenizer against pieces worked out from its published pattern."""

from __future__ import annotations

import pytest

from legato.errors import ModelFormatError
from legato.text.byte_bpe import byte_bpe, pre_tokenizer_named
from legato.text.vocabulary import BYTE_OF_CHAR, byte_level_piece


def pieces(name: str, text: str) -> list[str]:
    encoder = byte_bpe(dict.fromkeys(BYTE_OF_CHAR, 0), [], pre_tokenizer_named(name))
    if encoder.normalizer is not None:
        text = encoder.normalizer.normalize_str(text)
    return [byte_level_piece(p).decode() for p, _ in encoder.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpt-2", "I'm at 1234  x!\n\n y", ["I", "'m", " at", " 1234", " ", " x", "!", "\n\n",
                                            " y"]),
        ("smollm", "at 12  3", ["at", " ", "1", "2", "  ", "3"]),
        ("llama-bpe", "I'M 12345 x!!\n\n  y", ["I", "'M", " ", "123", "45", " x", "!!\n\n", " ",
                                                " y"]),
        ("qwen2", "a 12\n b", ["a", " ", "1", "2", "\n", " b"]),
        ("qwen2", "e\u0301", ["é"]),
        ("gpt-4o", "camelCaseHTTP it's 1234/\n", ["camel", "Case", "HTTP", " it's", " ", "123",
                                                  "4", "/\n"]),
        ("tekken", "camelCase it's 12", ["camel", "Case", " it", "'s", " ", "1", "2"]),
    ],
)  # fmt: skip
def test_pre_tokenizers_cut_where_their_models_do(name, text, expected):
    assert pieces(name, text) == expected


def test_an_unknown_pre_tokenizer_is_refused_by_name():
    with pytest.raises(ModelFormatError, match=r"'alien'.*known are.*smollm"):
        pre_tokenizer_named("alien")


def test_whole_pieces_that_are_tokens_are_taken_without_merges():
    vocab = {char: i for i, char in enumerate(BYTE_OF_CHAR)} | {"ab": 256}
    assert byte_bpe(vocab, [], pre_tokenizer_named("llama-bpe")).encode("ab").ids == [256]
    assert len(byte_bpe(vocab, [], pre_tokenizer_named("gpt-2")).encode("ab").ids) == 2
