"""Grammars through the engine: samples, preemption and chunks change nothing, and all is valid."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import json_schema
from legato.core import FinishReason
from legato.speculative.make import make_speculator
from legato.speculative.settings import parse_speculation
from null.fake_backend import EOS, VOCAB, alone, finish_all, make_engine, make_request, summary

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 0, "maximum": 999},
        "kind": {"enum": ["first", "second", "third"]},
        "flags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 4},
    },
    "required": ["id", "kind", "flags"],
    "additionalProperties": False,
}


class SmallTokenizer:
    """One token a printable character; the fake backend's vocabulary."""

    vocab_size = VOCAB
    eos_ids = special_ids = frozenset({EOS})
    strips_space = False

    def __init__(self) -> None:
        characters = [*range(0x20, 0x7F), 0x0A]
        self._bytes = [bytes([c]) for c in characters]
        self._bytes.insert(EOS, b"<end>")

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id]

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True
    ) -> list[int]:
        return [self._bytes.index(char.encode()) for char in text]


TOKENIZER = SmallTokenizer()


@pytest.fixture(scope="module")
def constraint():
    return GrammarCompiler(TOKENIZER).compile(json_schema(SCHEMA))


def text_of(events) -> str:
    return b"".join(TOKENIZER.token_bytes(event.token_id) for event in events[:-1]).decode()


@pytest.mark.parametrize("speculate", ["off", "lookup,k=2", "suffix,k=4,shared=2000"])
def test_samples_are_valid_and_the_same_alone_preempted_and_drafted(constraint, speculate):
    requests = [
        replace(
            make_request(
                f"r{i}", start=i, n=3, length=20 + i, temperature=1.0, seed=i,
                ignore_eos=False, max_tokens=300, logprobs=2,
            ),
            constraint=constraint,
        )
        for i in range(5)
    ]  # fmt: skip
    speculator = make_speculator(parse_speculation(speculate))
    engine, _ = make_engine(num_kv_blocks=30, max_batch_tokens=24, speculator=speculator)
    outputs = finish_all(engine, *requests, make_request("free", start=9))
    assert engine.stats().preemptions > 0
    for request in requests:
        for key, events in alone(request).items():
            assert summary(outputs[key]) == summary(events)
            assert events[-1].finish_reason is FinishReason.STOP
            Draft202012Validator(SCHEMA).validate(json.loads(text_of(events)))
    free = make_request("free", start=9)
    assert summary(outputs["free", 0]) == summary(alone(free)["free", 0])


def test_min_tokens_cannot_lead_out_of_the_language(constraint):
    request = make_request(ignore_eos=False, max_tokens=300, min_tokens=200)
    events = alone(replace(request, constraint=constraint))["a", 0]
    assert events[-1].finish_reason is FinishReason.STOP
    Draft202012Validator(SCHEMA).validate(json.loads(text_of(events)))
