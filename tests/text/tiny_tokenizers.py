"""Two tiny trained tokenizers, each as a folder and as GGUF metadata, with their golden ids."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legato.text.source import GGUFVocabulary, TokenizerFolder
from legato.text.tokenizer import Tokenizer, load_tokenizer

GOLDENS = Path(__file__).parent / "goldens"


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))


def byte_bpe_metadata() -> dict[str, Any]:
    saved = json.loads((GOLDENS / "tiny_byte_bpe" / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["id"]: token for token in saved["added_tokens"]}
    tokens = {i: text for text, i in saved["model"]["vocab"].items()}
    tokens |= {i: token["content"] for i, token in added.items()}
    kinds = {i: 3 if token["special"] else 4 for i, token in added.items()}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [tokens[i] for i in range(len(tokens))],
        "tokenizer.ggml.token_type": [kinds.get(i, 1) for i in range(len(tokens))],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in saved["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
    }


def sentencepiece_metadata() -> dict[str, Any]:
    path = GOLDENS / "tiny_sentencepiece" / "tokenizer.json"
    vocab = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.scores": [float(-i) for i in range(len(tokens))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": True,
    }


@dataclass(frozen=True)
class Case:
    """A tokenizer and what transformers gives for it."""

    name: str
    tokenizer: Tokenizer
    golden: dict[str, Any]


def make_case(name: str) -> Case:
    model, _, form = name.rpartition("-")
    metadata = {"tiny_byte_bpe": byte_bpe_metadata, "tiny_sentencepiece": sentencepiece_metadata}
    source = (
        TokenizerFolder(GOLDENS / model) if form == "folder" else GGUFVocabulary(metadata[model]())
    )
    return Case(name, load_tokenizer(source), golden(model))


TINY = [f"{model}-{form}" for model in ("tiny_byte_bpe", "tiny_sentencepiece")
        for form in ("folder", "gguf")]  # fmt: skip
