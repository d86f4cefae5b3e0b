"""Tokens that a grammar forces are those the model would see, to the byte."""

from __future__ import annotations

import pytest

from legato.constrain.vocabulary import VocabularyView

TEXTS = ['{"name": "', "the answer", " leading", "日本語 text", "a\nb", "", "\x02", "ab\u0000"]


@pytest.mark.parametrize("text", TEXTS)
def test_forced_texts_become_tokens_of_exactly_these_bytes(vocabulary, text):
    view = VocabularyView(vocabulary.tokenizer)
    ids = view(text)
    assert b"".join(view.tokens[i] for i in ids) == text.encode()
    assert view(text.encode()) == ids


def test_ordinary_text_gets_the_tokenizers_own_tokens(vocabulary):
    view = VocabularyView(vocabulary.tokenizer)
    encoded = vocabulary.tokenizer.encode("\nthe", add_special_tokens=False)
    assert view("\nthe") == encoded or vocabulary.tokenizer.strips_space


def test_texts_of_control_tokens_are_spelled_out(vocabulary):
    view = VocabularyView(vocabulary.tokenizer)
    for token in vocabulary.tokenizer.special_ids:
        text = vocabulary.tokenizer.token_text(token)
        assert token not in view(text)
        assert b"".join(view.tokens[i] for i in view(text)) == text.encode()


def test_bytes_that_are_no_text_are_spelled_out(vocabulary):
    view = VocabularyView(vocabulary.tokenizer)
    assert b"".join(view.tokens[i] for i in view(b"\xff\xc3")) == b"\xff\xc3"
