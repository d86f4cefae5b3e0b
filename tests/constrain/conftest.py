"""Fixtures over the two tiny tokenizers: byte-level BPE, and SentencePiece with byte fallback."""

from __future__ import annotations

import pytest
from walks import Vocabulary

from legato.constrain.compiler import GrammarCompiler
from text.tiny_tokenizers import make_case


@pytest.fixture(scope="session", params=["tiny_byte_bpe-gguf", "tiny_sentencepiece-gguf"])
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    tokenizer = make_case(request.param).tokenizer
    return Vocabulary(tokenizer, GrammarCompiler(tokenizer))


@pytest.fixture(scope="session")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(make_case("tiny_byte_bpe-gguf").tokenizer)
