"""Fixtures over the tiny tokenizers."""

from __future__ import annotations

import pytest
from tiny_tokenizers import TINY, Case, make_case

from legato.text.tokenizer import Tokenizer


@pytest.fixture(scope="session", params=TINY)
def tiny(request: pytest.FixtureRequest) -> Case:
    return make_case(request.param)


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    return make_case("tiny_byte_bpe-gguf").tokenizer


@pytest.fixture(scope="session")
def spiece_tokenizer() -> Tokenizer:
    return make_case("tiny_sentencepiece-gguf").tokenizer
